"""Group fairness across data holders that do not share rows: partitions, training rounds, calibrators, and their apps."""
