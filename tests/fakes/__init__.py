"""Servers of the tests: mail, Google, HTTP endpoints."""
