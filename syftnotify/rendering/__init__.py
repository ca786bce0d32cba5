"""Renders messages: e-mail, digest, summary line."""
