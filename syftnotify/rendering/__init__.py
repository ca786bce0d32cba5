"""Renders events as text: e-mails, digests, one-line summaries, links."""
