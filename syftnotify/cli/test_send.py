"""`notify test`: send a test message through one transport or through each."""

from __future__ import annotations

from syftnotify.cli.console import complain, say
from syftnotify.core.errors import ConfigError, DeliveryError
from syftnotify.services.settings import load_reporting_all
from syftnotify.services.test_send import send_test, transports_to_test
from syftnotify.system.paths import Home


def send(home: Home, name: str, to: str) -> int:
    """Send a test message through the transport `name`, or through each; returns the exit code."""
    settings = load_reporting_all(home)
    failures = 0
    for each in transports_to_test(settings, name, to):
        try:
            say(f"sent a test message through {each}{send_test(settings, each, to)}")
        except DeliveryError as error:
            failures += 1
            complain(DeliveryError(error.failure, f"the test message did not go out through {each}: {error}"))
        except ConfigError as error:
            if name:
                raise
            failures += 1
            complain(error)
    return 1 if failures else 0
