"""Watching the tree for changes, so that scans start early."""
