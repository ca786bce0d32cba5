"""The command line: one module per command. Parse, call a service, print."""
