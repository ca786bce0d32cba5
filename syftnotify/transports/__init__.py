"""One folder per transport, what they share, and the registry."""
