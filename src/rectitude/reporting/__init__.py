"""Charts and pages that reports, documents and the service share."""
