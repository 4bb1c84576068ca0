"""Encoders: item text, pictures and attributes to vectors, cached by content."""
