"""JSON objects to an HTTP endpoint."""
