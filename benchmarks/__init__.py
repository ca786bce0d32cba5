"""Benchmarks; each prints one JSON line per figure. They are not tests: no time limit decides anything."""
