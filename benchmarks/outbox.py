"""Notifications per second that can be enqueued in the outbox.

    python -m benchmarks.outbox [notifications]        (default: 10000)

Each has its own event; all are in one transaction, on disk when the call returns. Each round has a new database.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.common import Figure, job_name, report, time_call
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, OWNER

MIN_RATE = 25_000  # per second
ROUNDS = 7


def make_notifications(count: int, transport: str, *, to: str, medium: str) -> tuple[list[Event], list[Notification]]:
    """The end events of `count` jobs, and one notification for each."""
    events = [
        Event(
            EventKind.JOB_COMPLETED,
            entity_id("job", "D", OWNER, ANA, job_name(number)),
            f"2026-11-21T22:07:27.{number:06}Z",
            f"2026-11-21T22:07:27.{number:06}Z",
            {"name": job_name(number), "submitter": ANA, "owner": OWNER, "return_code": 0},
        )
        for number in range(count)
    ]
    return events, [
        Notification(event.key, event.entity, to, Audience.SUBMITTER, transport, medium, route="bench")
        for event in events
    ]


def figures(count: int) -> Iterator[Figure]:
    events, notifications = make_notifications(count, "box", to=ANA, medium="mail")
    taken = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            outbox = SqliteOutbox(Path(folder) / "outbox.db")
            taken.append(time_call(partial(outbox.enqueue, events, notifications, time.time())))
            assert outbox.history.counts().waiting == count
            outbox.close()
    rate = count / statistics.median(taken)
    name = f"enqueueing {count:,} notifications"
    yield Figure(name, rate, "per second", target=f"at least {MIN_RATE:,} per second", is_met=rate >= MIN_RATE)


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 10_000)))
