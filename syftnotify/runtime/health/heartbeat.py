"""The heartbeat mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from syftnotify.config.load import Settings
from syftnotify.core.history import History
from syftnotify.core.kinds import EventKind
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import iso
from syftnotify.runtime.health.events import WorkerEvents
from syftnotify.services.transports import sign_in_expirations

_DAY_SECONDS = 86400.0


class HeartbeatMail:
    """Sends a mail with the status to the data owner while everything works, at the times of the configuration.

    `heartbeat.daily`: once a day, after the first healthy scan at or after that time of day, in this machine's time
    zone. `heartbeat.every`: once in each interval, counted from 1970. `heartbeat.on_start`: after the first healthy
    scan of a worker, which counts as the mail of the current interval.
    """

    def __init__(
        self, events: WorkerEvents, history: History, settings: Settings, *, clock: Callable[[], float]
    ) -> None:
        self._events = events
        self._history = history
        self._settings = settings
        self._clock = clock
        self._starts = settings.config.heartbeat.on_start  # until the mail of the start is enqueued
        self._started_in = -1  # number of the interval in which it was

    def send_if_due(self, counts: OutboxCounts, *, jobs: int, peers: int) -> None:
        """Enqueue the mail, if one is due.

        Raises:
            StateError: the outbox cannot be used.
        """
        if not (occurrence := self._due_occurrence()):
            return
        entity = self._events.worker_entity
        if not self._events.is_recorded(EventKind.HEARTBEAT, entity, occurrence):
            self._events.enqueue(EventKind.HEARTBEAT, entity, occurrence, self._figures(counts, jobs, peers))
        if self._starts:
            self._starts, self._started_in = False, self._interval()

    def _due_occurrence(self) -> str:
        """What identifies the mail that is due; empty if none is."""
        heartbeat, now = self._settings.config.heartbeat, self._clock()
        if self._starts:
            return f"start {iso(now, exact=True)}"
        if heartbeat.every is not None:
            interval = self._interval()
            return f"{heartbeat.every:.0f} s {interval}" if interval != self._started_in else ""
        local = datetime.fromtimestamp(now, UTC).astimezone()
        is_due = heartbeat.daily is not None and local.time() >= heartbeat.daily
        return local.date().isoformat() if is_due else ""

    def _interval(self) -> int:
        """The number of the current interval of `heartbeat.every`; -1 if it is unset."""
        every = self._settings.config.heartbeat.every
        return -1 if every is None else int(self._clock() // every)

    def _figures(self, counts: OutboxCounts, jobs: int, peers: int) -> dict[str, Any]:
        """The payload of the event. `sign_ins` has the expirations of sign-ins (ISO 8601) by transport."""
        return {
            "jobs": jobs,
            "peers": peers,
            "sent": len(self._history.sent_since(self._clock() - _DAY_SECONDS)),
            "queued": counts.waiting,
            "dead": counts.dead,
            "held": counts.held,
            "sign_ins": {name: iso(expiry) for name, expiry in sign_in_expirations(self._settings).items()},
        }
