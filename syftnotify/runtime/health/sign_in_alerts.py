"""Alerts about sign-ins that expire soon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from syftnotify.config.load import Settings
from syftnotify.core.alerts import Alert
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.text import iso
from syftnotify.runtime.health.events import WorkerEvents
from syftnotify.services.status import SIGN_IN_WARNING_SECONDS
from syftnotify.services.transports import sign_in_expirations

_OCCURRENCE_PREFIX = "ends "  # before the time of expiry; stored in the outbox


class SignInAlerts:
    """Alerts the owner two days before a sign-in expires, while it still works; once for each sign-in."""

    def __init__(self, events: WorkerEvents, settings: Settings, *, clock: Callable[[], float]) -> None:
        self._events = events
        self._settings = settings
        self._clock = clock

    def check(self) -> None:
        """Enqueue the alerts that are due.

        Raises:
            StateError: the outbox cannot be used.
        """
        now = self._clock()
        for name, expiry in sign_in_expirations(self._settings).items():
            if 0 < expiry - now <= SIGN_IN_WARNING_SECONDS:
                self._alert(name, expiry)

    def _alert(self, name: str, expiry: float) -> None:
        entity, occurrence = entity_id("transport", name), f"{_OCCURRENCE_PREFIX}{iso(expiry, exact=True)}"
        if not self._events.is_recorded(EventKind.SYSTEM_ALERT, entity, occurrence):
            ends = f"{datetime.fromtimestamp(expiry, UTC):%d %B, %H:%M} UTC"
            self._events.alert(
                Alert.SIGN_IN_ENDS, entity, occurrence, {"transport": name, "ends": ends, "ends_at": iso(expiry)}
            )


def is_sign_in_occurrence(occurrence: str) -> bool:
    """Whether an alert about a transport is about its sign-in."""
    return occurrence.startswith(_OCCURRENCE_PREFIX)
