"""Messages on the channels of a Redis server."""
