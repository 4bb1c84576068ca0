"""One file per published recommender, grouped by what it reads. Importing this package loads no torch."""
