"""Stores notifications in given states in the outbox of a box."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from syftnotify.core.errors import Failure
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, OWNER, Box, claim


@contextlib.contextmanager
def open_outbox(box: Box) -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(box.home.outbox)
    try:
        yield outbox
    finally:
        outbox.close()


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """One notification and its state."""

    name: str
    state: str = "dead"
    recipient: str = ANA
    reason: str = "Gmail answered 400"
    transport: str = "box"
    age: float = 0.0  # seconds since the event was detected

    @property
    def event(self) -> Event:
        payload = {"name": self.name, "owner": OWNER, "submitter": ANA}
        return Event(EventKind.JOB_APPROVED, entity_id("job", "D", OWNER, ANA, self.name), payload=payload)

    @property
    def notification(self) -> Notification:
        return Notification(
            self.event.key,
            self.event.entity,
            self.recipient,
            Audience.SUBMITTER,
            self.transport,
            skipped=self.reason if self.state == "skipped" else "",
        )

    @property
    def id(self) -> str:
        return self.notification.id


def store(box: Box, *notifications: StoredNotification) -> list[str]:
    """Store notifications in the outbox; returns their ids."""
    with open_outbox(box) as outbox:
        for notification in notifications:
            now = time.time() - notification.age
            outbox.enqueue([notification.event], [notification.notification], now)
            if notification.state in {"pending", "skipped"}:
                continue
            due = claim(outbox, notification.transport, now, worker_id="tests", resend=False)
            assert [item.id for item in due] == [notification.id], "store pending notifications last"
            if notification.state == "sent":
                outbox.queue.mark_sent(due, now)
            else:
                failure = {"dead": Failure.PERMANENT, "unknown": Failure.UNKNOWN}[notification.state]
                outbox.queue.mark_failed(
                    due, now, failure, notification.reason, AttemptOutcome(NotificationState(notification.state))
                )
    return [notification.id for notification in notifications]


def states_by_id(box: Box) -> dict[str, str]:
    with open_outbox(box) as outbox:
        return outbox.dead_letters.states("")
