"""From a run to an answer: batches, retrieval, rules, assignment, hot swap."""
