"""People's rights as durable jobs: export, deletion, forgetting an attribute, and choices about single items."""
