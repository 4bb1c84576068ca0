"""Rectitude: recommenders that are trained, held to what they owe people, and served."""

__version__ = "0.1.0"
