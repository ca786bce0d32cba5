"""The configuration: schema, loading, editing, secrets."""
