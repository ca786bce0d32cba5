"""Reports of the worker about itself: alerts, the heartbeat mail and the pings of a dead man's switch."""
