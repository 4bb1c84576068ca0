"""Recommenders that read who liked what."""
