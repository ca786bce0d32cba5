"""The daily heartbeat mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from syftnotify.config.load import Settings
from syftnotify.core.kinds import EventKind
from syftnotify.core.outbox import History, OutboxCounts
from syftnotify.core.text import iso, plural
from syftnotify.runtime.health.events import WorkerEvents
from syftnotify.services.transports import sign_in_expirations

_DAY_SECONDS = 86400.0


class DailyHeartbeat:
    """Sends one mail a day, after the first healthy scan at or after `heartbeat.daily`, in this machine's time zone."""

    def __init__(
        self, events: WorkerEvents, history: History, settings: Settings, *, clock: Callable[[], float]
    ) -> None:
        self._events = events
        self._history = history
        self._settings = settings
        self._clock = clock

    def send_if_due(self, counts: OutboxCounts, *, jobs: int, peers: int) -> None:
        """Enqueue the mail of the day, if it is due.

        Raises:
            StateError: the outbox cannot be used.
        """
        daily = self._settings.config.heartbeat.daily
        local = datetime.fromtimestamp(self._clock(), UTC).astimezone()
        if daily is None or local.time() < daily:
            return
        self._events.enqueue_once(
            EventKind.HEARTBEAT,
            self._events.worker_entity,
            local.date().isoformat(),
            "syftnotify is running and can send notifications.",
            figures=self._figures(counts, jobs, peers),
        )

    def _figures(self, counts: OutboxCounts, jobs: int, peers: int) -> list[list[str]]:
        """Rows of the mail: label and text."""
        sent = len(self._history.sent_since(self._clock() - _DAY_SECONDS))
        expirations = sign_in_expirations(self._settings)
        return [
            ["known", f"{plural(jobs, 'job')}, {plural(peers, 'peer')}"],
            ["sent since yesterday", plural(sent, "message")],
            ["waiting", plural(counts.waiting, "message")],
            ["dead letters", f"{counts.dead}" + (" (`notify dead-letters` lists them)" if counts.dead else "")],
            ["held, may have arrived", str(counts.held)],
            *([name, f"sign-in ends {iso(expiry, exact=True)}"] for name, expiry in expirations.items()),
        ]
