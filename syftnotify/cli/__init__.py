"""What may be typed, what is printed. Thin: parse, one call, print."""
