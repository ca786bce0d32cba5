"""Messages in a Slack workspace."""
