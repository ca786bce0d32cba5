"""A transport whose server fails as a test decides, and notifications for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.store import SqliteOutbox

READER = "owner@datasite.example"
RENDERER = EmailRenderer(TemplateRenderer(), sender=READER, links=Links())


class Server:
    """A transport whose server responds to each message as `answer` decides; None accepts it."""

    def __init__(self, answer: Callable[[Message], DeliveryError | None] = lambda _message: None) -> None:
        self.answer = answer
        self.tried: list[str] = []
        self.accepted: list[str] = []
        self.reachable = True
        self._lock = threading.Lock()

    def check(self) -> None:
        if not self.reachable:
            raise DeliveryError(Failure.UNREACHABLE, "mail.example could not be reached")

    def send(self, message: Message) -> Receipt:
        with self._lock:
            self.tried.append(message.id)
            error = self.answer(message)
            if error is not None:
                raise error
            self.accepted.append(message.id)
        return Receipt()

    def close(self) -> None:
        """Nothing is kept."""


def transport_queue(server: Server, name: str = "mail", **more: Any) -> TransportQueue:
    return TransportQueue(name, server, RENDERER, QueueOptions(**more))


def enqueue(
    outbox: SqliteOutbox, count: int, *, start: int = 0, to: str = READER, source: str = "", transport: str = "mail"
) -> None:
    events = [
        Event(
            EventKind.JOB_SUBMITTED, f"job/{source}/{number}", "T", "", {"name": f"job {number}", "submitter": source}
        )
        for number in range(start, start + count)
    ]
    items = [Notification(e.key, e.entity, to, Audience.OWNER, transport, source=source) for e in events]
    outbox.enqueue(events, items, 0.0)


def rejects(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.PERMANENT, "hooks.example answered 404 no_service")


def defers(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.TEMPORARY, "mail.example answered 451")


def loses_the_answer(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.UNKNOWN, "mail.example answered 504")


def is_gone(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.GONE, "hooks.example answered 410")
