"""Domain model and rules. No I/O, no clock and no randomness of their own."""
