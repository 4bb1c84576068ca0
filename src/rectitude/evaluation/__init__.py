"""Ranks, metrics, intervals, significance, and the protocol stamp on every number."""
