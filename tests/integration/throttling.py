"""Helpers of the tests of throttling: a transport that records digests, and recipients with a history."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from syftnotify.core.errors import DeliveryError
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import Clock

READER = "o@x.org"
OTHER = "b@x.org"
FLOOD = "flood@lab.example"
TEN_MINUTES = 600.0
RENDERER = EmailRenderer(TemplateRenderer(), sender=READER, links=Links())


class DigestRecorder:
    """Accepts each message, unless `faults` has an error for its entity (or "digest"); `gates` hold attempts up."""

    def __init__(self) -> None:
        self.accepted: list[Message] = []
        self.faults: dict[str, list[DeliveryError]] = {}  # by entity, or "digest"
        self.attempted: Counter[str] = Counter()  # by id
        self.gates: dict[str, threading.Event] = {}  # an entity is not answered before this
        self._lock = threading.Lock()

    def check(self) -> None:
        """It always works."""

    def close(self) -> None:
        """Nothing is kept."""

    def send(self, message: Message) -> Receipt:
        name = "digest" if is_digest(message) else entities(message)[0]
        if name in self.gates:
            self.gates[name].wait()
        with self._lock:
            self.attempted[message.id] += 1
            if self.faults.get(name):
                raise self.faults[name].pop(0)
            self.accepted.append(message)
        return Receipt("id")

    @property
    def singles(self) -> list[str]:
        return [entities(message)[0] for message in self.accepted if not is_digest(message)]

    @property
    def digests(self) -> list[list[str]]:
        return [entities(message) for message in self.accepted if is_digest(message)]


def entities(message: Message) -> list[str]:
    return [value for name, value in message.headers if name == "X-SyftNotify-Entity"]


def is_digest(message: Message) -> bool:
    return ("X-SyftNotify-Event", "digest") in message.headers


Make = Callable[..., Dispatcher]


def submitted(name: str, by: str = FLOOD) -> Event:
    return Event(EventKind.JOB_SUBMITTED, f"job/{name}", "T", "", {"name": name, "submitter": by})


def notification_of(event: Event, *, to: str = READER, transport: str = "box") -> Notification:
    return Notification(event.key, event.entity, to, Audience.OWNER, transport)


def enqueue_jobs(outbox: SqliteOutbox, clock: Clock, names: Iterable[str], *, by: str = FLOOD, **more: Any) -> None:
    events = [submitted(name, by) for name in names]
    outbox.enqueue(events, [notification_of(event, **more) for event in events], clock.now)


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"{number:04d}" for number in range(start, start + count)]


def enqueue_sent(
    outbox: SqliteOutbox, clock: Clock, tmp_path: Path, names: Iterable[str], *, ago: float = 0.0, **more: Any
) -> None:
    """Enqueue jobs that an earlier worker sent `ago` seconds ago."""
    names = list(names)
    enqueue_jobs(outbox, clock, names, **more)
    moment = clock.now - ago
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db", timeout=20)) as connection, connection:
        for name in names:
            (key,) = connection.execute("SELECT id FROM notifications WHERE entity = ?", [f"job/{name}"]).fetchone()
            connection.execute("UPDATE notifications SET state = 'sent' WHERE id = ?", [key])
            connection.execute(
                "INSERT INTO attempts (notification, started_at, ended_at, outcome, error, provider_id)"
                " VALUES (?, ?, ?, 'sent', '', '')",
                [key, moment, moment],
            )
        for total in ("messages", "notifications"):
            connection.execute(
                "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                [total, len(names)],
            )
