"""Alerts about transports that cannot send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from syftnotify.config.transport import TransportSettings
from syftnotify.core.alerts import Alert
from syftnotify.core.identifiers import entity_id
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import hostname, iso
from syftnotify.runtime.health.availability import TransportAvailability
from syftnotify.runtime.health.events import WorkerEvents
from syftnotify.runtime.health.sign_in_alerts import is_sign_in_occurrence

_MAX_COUNTED = 10_000  # queued notifications
_REPEAT_SECONDS = 86400.0  # until a restarted worker reports again a transport that still cannot send


class TransportAlerts:
    """Alerts the owner and the operators about a transport that cannot send, through another one."""

    def __init__(
        self,
        events: WorkerEvents,
        availability: TransportAvailability,
        outbox: OutboxStore,
        transports: Mapping[str, TransportSettings],
        *,
        clock: Callable[[], float],
    ) -> None:
        """`transports` are those of the configuration."""
        self._events = events
        self._availability = availability
        self._outbox = outbox
        self._transports = transports
        self._clock = clock
        self._reported: set[str] = set()  # transports that cannot send and are reported

    def check(self) -> None:
        """Enqueue alerts about transports that cannot send and are not reported yet.

        Raises:
            StateError: the outbox cannot be used; the next call tries again.
        """
        for name, reason in self._availability.reasons().items():
            if not reason:
                self._reported.discard(name)
            elif name not in self._reported and self._alert(name, reason):
                self._reported.add(name)

    def _alert(self, name: str, reason: str) -> bool:
        """Enqueue an alert unless an earlier worker did; returns False if no other transport can send it."""
        other = self._availability.choose(exclude={name})
        if not other:
            return False
        if not self._is_recently_reported(name):
            occurrence = iso(self._clock(), exact=True)
            self._events.alert(
                Alert.TRANSPORT_STOPPED, entity_id("transport", name), occurrence, self._facts(name, reason), via=other
            )
        return True

    def _facts(self, name: str, reason: str) -> dict[str, Any]:
        """The payload of the alert. `host` is that of an alert rule's webhook, which has no name of its own."""
        section = self._transports.get(name)
        rules = (rule for rule in self._outbox.alert_rules.all() if rule.has_url and rule.endpoint == name)
        rule = next(rules, None)
        queued = self._outbox.history.notifications(
            states=(NotificationState.PENDING, NotificationState.UNKNOWN), transport=name, limit=_MAX_COUNTED
        )
        return {
            "transport": name,
            "reason": reason,
            "queued": len(queued),
            "type": section.type if section else "",
            "needs_sign_in": section is not None and section.sign_in is not None,
            "host": hostname(rule.target) if rule else "",
        }

    def _is_recently_reported(self, name: str) -> bool:
        """Whether this transport was reported in the last day, and nothing was sent through it since."""
        recorded = self._outbox.events.for_entities([entity_id("transport", name)])
        reported_at = [event.occurrence for event in recorded if not is_sign_in_occurrence(event.occurrence)]
        last_sent = self._outbox.history.last_sent(name)
        since = iso(self._clock() - _REPEAT_SECONDS, exact=True)
        if last_sent is not None:
            since = max(since, iso(last_sent, exact=True))
        return any(moment > since for moment in reported_at)
