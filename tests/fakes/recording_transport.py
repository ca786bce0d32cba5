"""A transport that records messages and fails as configured."""

from __future__ import annotations

import threading
import time
from typing import Any

from syftnotify.core.errors import DeliveryError
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.core.ports import Transport
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.store import SqliteOutbox

RENDERER = EmailRenderer(TemplateRenderer(), sender="o@x.org", links=Links())


class RecordingTransport:
    """Accepts each message unless `failures` has an error; attempts block while `gate` is not set."""

    def __init__(self) -> None:
        self.accepted: list[Message] = []
        self.attempted: list[str] = []  # ids
        self.failures: list[DeliveryError] = []
        self.checks: list[DeliveryError] = []
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = 0.0  # duration of an attempt
        self.in_flight = 0
        self.most_in_flight = 0
        self._lock = threading.Lock()

    def check(self) -> None:
        if self.checks:
            raise self.checks[0]

    def send(self, message: Message) -> Receipt:
        with self._lock:
            self.attempted.append(message.id)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.gate.wait()
        time.sleep(self.seconds)  # the processing time of a server
        with self._lock:
            self.in_flight -= 1
            if self.failures:
                raise self.failures.pop(0)
            self.accepted.append(message)
        return Receipt("id", "thread")

    def close(self) -> None:
        """Nothing to close."""


def transport_queue(transport: Transport, name: str = "box", **options: Any) -> TransportQueue:
    return TransportQueue(name, transport, RENDERER, QueueOptions(**options))


def enqueue_jobs(
    outbox: SqliteOutbox, count: int, *, transport: str = "box", start: int = 0, to: str = "o@x.org"
) -> None:
    """Enqueue notifications of `count` submitted jobs, numbered from `start`."""
    events = [
        Event(
            EventKind.JOB_SUBMITTED,
            f"job/{transport}/{number}",
            "T",
            "",
            {"name": f"job {number}", "submitter": "a@b.org"},
        )
        for number in range(start, start + count)
    ]
    items = [Notification(event.key, event.entity, to, Audience.OWNER, transport) for event in events]
    outbox.enqueue(events, items, 0.0)
