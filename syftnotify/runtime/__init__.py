"""Composition root, scan pipeline, worker loop, health, process control."""
