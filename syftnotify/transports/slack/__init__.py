"""Lines in a Slack workspace."""
