"""Fake servers and transports: SMTP, Google, HTTP."""
