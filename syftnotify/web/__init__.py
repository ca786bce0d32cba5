"""The HTTP API: parse a request, call a service, answer. Needs the extra `syftnotify[server]`."""
