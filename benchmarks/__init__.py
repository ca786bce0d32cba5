"""Programs that measure; each prints one JSON line a figure. They are no tests: no time limit decides anything."""
