"""Group fairness across data holders that do not share rows: partitions, training, calibrators, and their apps."""
