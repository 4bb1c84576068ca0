"""Recommenders that read what items say and look like."""
