"""The Trainer, the events methods attach to, checkpoints, tuning, and the way from a table to a run."""
