"""What this package is: its version, written once."""

__version__ = "0.1.0"
