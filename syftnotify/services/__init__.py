"""Use cases that the CLI, the web pages and Python callers share. They print nothing."""
