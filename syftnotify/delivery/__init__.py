"""Delivers what the outbox holds: scheduling, one attempt, recording outcomes."""
