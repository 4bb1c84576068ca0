"""Recommenders that read the order of what a person did."""
