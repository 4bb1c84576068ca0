"""The service: recommendations, audits and people's rights over HTTP, with pages."""
