"""Withheld notifications and new recipients in the outbox."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import ANA, BO, claim, tally


def enqueue(outbox: SqliteOutbox, name: str, recipient: str, now: float, **more: Any) -> Notification:
    event = Event(EventKind.JOB_SUBMITTED, f"job/{name}")
    item = Notification(event.key, event.entity, recipient, Audience.SUBMITTER, "box", **more)
    outbox.enqueue([event], [item], now)
    return item


def test_release_enqueues_the_named_recipients_only(outbox: SqliteOutbox) -> None:
    """C1: what was withheld is not claimed before, and keeps its position."""
    enqueue(outbox, "a", ANA, 1.0, withheld="unverified")
    enqueue(outbox, "b", BO, 2.0, withheld="unverified")
    assert claim(outbox, "box", 3.0, worker_id="me") == []
    assert outbox.recipients.withheld() == [ANA, BO]
    assert outbox.recipients.release([BO], 4.0) == 1
    assert outbox.history.counts() == tally(waiting=1, withheld=1)
    assert [due.recipient for due in claim(outbox, "box", 5.0, worker_id="me")] == [BO]
    assert outbox.recipients.release([BO], 6.0) == 0


def test_reassign_includes_withheld_mail(outbox: SqliteOutbox) -> None:
    """C1"""
    enqueue(outbox, "a", ANA, 1.0, withheld="unverified")
    assert outbox.queue.reassign(["other"], "other") == 1
    outbox.recipients.release([ANA], 2.0)
    assert [due.transport for due in claim(outbox, "other", 3.0, worker_id="me")] == ["other"]


def test_count_new_uses_the_time_of_enqueue_or_release(outbox: SqliteOutbox) -> None:
    """C1: withheld ones count when they are released; recipients that the caller does not name are not new."""
    enqueue(outbox, "a", ANA, 10.0, withheld="unverified")
    enqueue(outbox, "b", BO, 10.0)
    assert outbox.recipients.unmailed([ANA, BO]) == {ANA}
    outbox.recipients.release([ANA], 20.0, newcomers=[ANA])
    assert outbox.recipients.unmailed([ANA, BO]) == set()
    assert [outbox.recipients.count_new(since, 30.0) for since in (0.0, 15.0, 20.0)] == [1, 1, 0]
    assert outbox.recipients.count_new(0.0, 19.0) == 0, "the clock was set back"


def test_upgrade_keeps_the_addresses_of_the_history(outbox: SqliteOutbox, tmp_path: Path) -> None:
    """C1: an address that was mailed before is not new."""
    enqueue(outbox, "a", ANA, 10.0)
    enqueue(outbox, "b", BO, 10.0, skipped="no reason")
    outbox.close()
    path = tmp_path / "outbox.db"
    as_version_4(path)
    upgraded = SqliteOutbox(path)
    assert upgraded.recipients.unmailed([ANA, BO]) == {BO}
    enqueue(upgraded, "c", BO, 20.0, withheld="unverified")
    assert upgraded.recipients.release([BO], 30.0) == 1
    upgraded.close()


def as_version_4(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        DROP INDEX queue; DROP INDEX unfinished;
        DROP TABLE recipients; DROP TABLE emitted_jobs; DROP TABLE totals;
        ALTER TABLE events DROP COLUMN routing;
        ALTER TABLE notifications DROP COLUMN source;
        ALTER TABLE notifications DROP COLUMN priority;
        ALTER TABLE notifications DROP COLUMN longest_wait;
        ALTER TABLE notifications DROP COLUMN acknowledged_at;
        ALTER TABLE notifications DROP COLUMN reported_at;
        PRAGMA user_version = 4;
        """
    )
    connection.close()
