"""The service over HTTP, under ``/v1``."""
