"""Fair federated methods, one file each, and the mathematics they share."""
