"""Checks, findings, model cards and reports of recommender runs."""
