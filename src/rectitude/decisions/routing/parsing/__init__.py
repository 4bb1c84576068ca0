"""Feedback in words to clauses: rules by default, a language model where one is wanted."""
