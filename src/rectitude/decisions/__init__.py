"""Decisions: a plan for a person from a model's prediction, a language model for a request from what people ask for."""
