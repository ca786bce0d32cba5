"""Delivery of queued notifications: scheduling, single attempts, and recording of their outcomes."""
