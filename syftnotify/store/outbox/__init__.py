"""The durable queue of notifications and its history."""
