"""Tables in, integer arrays out: datasets, readers, the catalogue of known sets, splits and histories."""
