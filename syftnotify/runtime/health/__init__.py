"""Reports of the worker about itself: alerts, the daily heartbeat and the pings of a dead man's switch."""
