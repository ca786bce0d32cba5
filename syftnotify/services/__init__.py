"""Use cases that the command line and Python callers share. They print nothing."""
