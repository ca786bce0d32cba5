"""Checks of a home, its configuration, its transports and its machine. No check changes anything."""
