"""Claims on SQLite: rows that cannot be read, write errors, and a cost that does not grow with the history."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from syftnotify.core.history import SentMessage
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.store.outbox.store import SqliteOutbox
from tests.outbox_helpers import RECIPIENT, claim_next, enqueue, submitted
from tests.support import tally

BAD_ROWS = {
    "kind": "UPDATE events SET kind = 'job_x' WHERE entity = 'job/bad'",
    "payload": "UPDATE events SET payload = '{broken' WHERE entity = 'job/bad'",
    "payload_list": "UPDATE events SET payload = '[1]' WHERE entity = 'job/bad'",
    "routing": "UPDATE events SET routing = 'x' WHERE entity = 'job/bad'",
    "audience": "UPDATE notifications SET audience = 'nobody' WHERE entity = 'job/bad'",
    "recipient": "UPDATE notifications SET recipient = CAST(x'ff40' AS TEXT) WHERE entity = 'job/bad'",
    "kind_blob": "UPDATE events SET kind = CAST(kind AS BLOB) WHERE entity = 'job/bad'",
    "audience_blob": "UPDATE notifications SET audience = CAST(audience AS BLOB) WHERE entity = 'job/bad'",
    "entity_blob": "UPDATE notifications SET entity = CAST(entity AS BLOB) WHERE entity = 'job/bad'",
    "text": "UPDATE events SET at = CAST(x'fffe' AS TEXT) WHERE entity = 'job/bad'",
}


def execute(folder: Path, statement: str) -> None:
    """Change the database behind the outbox's back."""
    with contextlib.closing(sqlite3.connect(folder / "outbox.db")) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "bundle"),
    [*((statement, "") for statement in BAD_ROWS.values()), (BAD_ROWS["kind"], "b"), (BAD_ROWS["text"], "b")],
    ids=[*BAD_ROWS, "kind in a bundle", "text in a bundle"],
)
def test_claim_quarantines_a_row_that_cannot_be_read(
    tmp_path: Path, outbox: SqliteOutbox, statement: str, bundle: str
) -> None:
    """A2: it becomes a dead letter with the reason, and everything else is sent."""
    enqueue(outbox, *map(submitted, ("bad", "a", "b")), bundle=bundle)
    execute(tmp_path, statement)

    sent = []
    while claimed := claim_next(outbox):
        outbox.queue.mark_sent(claimed, 100.0)
        sent += [item.event.entity for item in claimed]

    assert sorted(sent) == ["job/a", "job/b"]
    assert outbox.history.counts().dead == outbox.history.counts().unacknowledged == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection:
        (reason,) = connection.execute("SELECT reason FROM notifications WHERE state = 'dead'").fetchone()
    assert reason.startswith("quarantined: ")
    (record,) = outbox.dead_letters.unreported()
    outbox.dead_letters.mark_reported([record.id], 100.0)
    assert outbox.dead_letters.unreported() == []
    assert len(outbox.history.notifications()) == len(outbox.history.sent_since(0.0)) + 1 + (1 if bundle else 0)
    assert [event.entity for event in outbox.history.events("job/bad")] == ["job/bad"]


class CountingThrottle:
    """A throttle that lets every message pass and counts those recorded."""

    seconds = (0.0, 0.0)

    def __init__(self) -> None:
        self.recorded = 0

    def digest_window(self, recipient: str, kind: EventKind, source: str, bundle: str) -> None:
        return None

    def record(self, recipient: str, bundle: str, source: str) -> None:
        self.recorded += 1

    def undo(self) -> None:
        self.recorded = 0

    def recall(self, to_recipients: Sequence[SentMessage], of_sources: Sequence[SentMessage]) -> None:
        pass


def test_claim_that_quarantines_a_row_records_no_message_twice(tmp_path: Path, outbox: SqliteOutbox) -> None:
    """A2, C3: a daily limit would count the surplus for a day."""
    enqueue(outbox, *map(submitted, ("a", "bad", "c")))
    execute(tmp_path, BAD_ROWS["kind"])
    throttle = CountingThrottle()

    assert len(outbox.queue.claim("box", 100.0, worker_id="me", limit=5, throttle=throttle)) == throttle.recorded == 2


def test_recover_leaves_attempts_of_this_process_alone(tmp_path: Path, outbox: SqliteOutbox) -> None:
    """A10: until their outcome is saved, also if saving it fails the first time."""
    enqueue(outbox, submitted())
    claimed = claim_next(outbox)
    execute(
        tmp_path, "CREATE TRIGGER fails BEFORE UPDATE ON notifications BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
    )
    with pytest.raises(StateError), outbox.queue.batch():
        outbox.queue.mark_sent(claimed, 100.0)
    execute(tmp_path, "DROP TRIGGER fails")

    assert outbox.queue.recover(100.0) == 0
    with outbox.queue.batch():
        outbox.queue.mark_sent(claimed, 100.0)
    assert outbox.history.counts() == tally(sent=1)


def count_steps(outbox: SqliteOutbox, action: Callable[[], object]) -> int:
    """Instructions of SQLite's virtual machine, in tens, during `action`. A slow machine does not change them."""
    connection = outbox._file._engine.raw_connection()
    driver = connection.driver_connection
    connection.close()  # returned to the pool of one connection, which `action` uses
    assert isinstance(driver, sqlite3.Connection)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(count, 10)
    action()
    driver.set_progress_handler(None, 10)
    return steps


def insert_sent(path: Path, count: int, entity: str) -> None:
    """So many sent notifications of one entity to one recipient, as earlier months left them."""
    ids = [(f"old{number}", str(number)) for number in range(count)]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO events (key, kind, entity, occurrence, at, payload, noticed_at) "
            "VALUES (?, 'job_completed', ?, ?, '', '{}', 0)",
            ((key, entity, occurrence) for key, occurrence in ids),
        )
        connection.executemany(
            "INSERT INTO notifications (id, event_key, entity, medium, recipient, audience, transport, bundle, state, "
            "reason, created_at, not_before, failures, refusals, thread) "
            "VALUES (?, ?, ?, 'mail', ?, 'owner', 'box', '', 'sent', '', 0, 0, 0, 0, '')",
            ((key, key, entity, RECIPIENT) for key, _ in ids),
        )
        connection.executemany(
            "INSERT INTO attempts (notification, started_at, ended_at, outcome, error, provider_id) "
            "VALUES (?, 0, 0, 'sent', '', '')",
            ((key,) for key, _ in ids),
        )
        connection.commit()


def failures(count: int) -> list[Event]:
    return [Event(EventKind.JOB_FAILED, "job/busy", f"new{number}") for number in range(count)]


def claim_cost(path: Path, prepare: Callable[[SqliteOutbox], None]) -> int:
    """The steps of one claim in a new outbox after `prepare`."""
    with contextlib.closing(SqliteOutbox(path)) as outbox:
        prepare(outbox)
        return count_steps(outbox, lambda: claim_next(outbox))


def test_claim_cost_does_not_grow_with_the_history_of_an_entity(tmp_path: Path) -> None:
    """A13"""

    def cost(past: int) -> int:
        def prepare(outbox: SqliteOutbox) -> None:
            insert_sent(tmp_path / f"{past}.db", past, "job/busy")
            enqueue(outbox, *failures(20))

        return claim_cost(tmp_path / f"{past}.db", prepare)

    few, many = cost(100), cost(3_000)
    assert 0 < many <= 2 * few


def test_claim_cost_of_an_urgent_message_does_not_grow_with_the_queue(tmp_path: Path) -> None:
    """A13"""

    def cost(waiting: int) -> int:
        def prepare(outbox: SqliteOutbox) -> None:
            enqueue(outbox, *(submitted(f"low{number}") for number in range(waiting)), *failures(1))

        return claim_cost(tmp_path / f"{waiting}.db", prepare)

    few, many = cost(100), cost(3_000)
    assert 0 < many <= 2 * few


def test_claim_cost_of_a_busy_conversation_grows_in_proportion(tmp_path: Path) -> None:
    """A13: not with the square of its length."""

    def cost(waiting: int) -> int:
        def prepare(outbox: SqliteOutbox) -> None:
            enqueue(outbox, *failures(waiting))
            assert claim_next(outbox)

        return claim_cost(tmp_path / f"{waiting}.db", prepare)

    few, many = cost(100), cost(1_000)
    assert 0 < many <= 20 * few
