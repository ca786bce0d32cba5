"""Benchmarks; each prints one JSON line per figure. No test depends on their times."""
