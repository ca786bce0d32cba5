"""Alerts about transports that cannot send."""

from __future__ import annotations

from collections.abc import Callable

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import hostname, iso
from syftnotify.runtime.health.availability import TransportAvailability
from syftnotify.runtime.health.events import WorkerEvents
from syftnotify.runtime.health.sign_in_alerts import is_sign_in_occurrence

_REPEAT_SECONDS = 86400.0  # until a restarted worker reports again a transport that still cannot send


class TransportAlerts:
    """Alerts the owner and the operators about a transport that cannot send, through another one."""

    def __init__(
        self,
        events: WorkerEvents,
        availability: TransportAvailability,
        outbox: OutboxStore,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._events = events
        self._availability = availability
        self._outbox = outbox
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
            self._events.enqueue(
                EventKind.SYSTEM_ALERT,
                entity_id("transport", name),
                iso(self._clock(), exact=True),
                f"{self._description(name)} cannot send.",
                detail=reason,
                transport=other,
            )
        return True

    def _is_recently_reported(self, name: str) -> bool:
        """Whether this transport was reported in the last day, and nothing was sent through it since."""
        recorded = self._outbox.events.for_entities([entity_id("transport", name)])
        reported_at = [event.occurrence for event in recorded if not is_sign_in_occurrence(event.occurrence)]
        last_sent = self._outbox.history.last_sent(name)
        since = iso(self._clock() - _REPEAT_SECONDS, exact=True)
        if last_sent is not None:
            since = max(since, iso(last_sent, exact=True))
        return any(moment > since for moment in reported_at)

    def _description(self, name: str) -> str:
        rules = (rule for rule in self._outbox.alert_rules.all() if rule.has_url and rule.endpoint == name)
        rule = next(rules, None)
        if rule is None:
            return f"Transport {name}"
        return f"The webhook at {hostname(rule.target)} of an alert rule ({name} in `notify alerts list`)"
