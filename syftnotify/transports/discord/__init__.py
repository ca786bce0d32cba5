"""Messages in a channel of a Discord server."""
