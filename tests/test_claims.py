"""Claim order: severity, fairness between recipients, quarantine, and a cost that does not grow with history."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.errors import Failure, StateError
from syftnotify.model import Audience, Event, Kind, Notification
from syftnotify.outbox import Outbox, Verdict
from tests.support import claim, tally

READER = "owner@datasite.example"


def enqueue(
    outbox: Outbox,
    name: str,
    kind: Kind = Kind.JOB_SUBMITTED,
    *,
    to: str = READER,
    audience: Audience = Audience.OWNER,
    occurrence: str = "T",
    bundle: str = "",
) -> Notification:
    event = Event(kind, f"job/{name}", occurrence, "", {"name": name})
    item = Notification(event.key, event.entity, to, audience, "box", bundle=bundle)
    outbox.put([event], [item], 0.0)
    return item


def order(outbox: Outbox, count: int) -> list[tuple[str, str]]:
    """The next messages as (entity, recipient), each sent before the next is claimed."""
    found = []
    for _ in range(count):
        due = claim(outbox, "box", 100.0, by="me")
        outbox.sent(due, 100.0)
        found.append((due[0].event.entity, due[0].recipient))
    return found


def test_claim_with_a_long_queue_for_one_serves_every_recipient_in_turn(outbox: Outbox) -> None:
    """A13: a fresh message waits for one message of each other recipient, not for the queue."""
    for number in range(50):
        enqueue(outbox, f"flood{number}", to="flood@lab.example", audience=Audience.SUBMITTER)
    enqueue(outbox, "fresh", to="ana@uni.example", audience=Audience.SUBMITTER)

    assert ("job/fresh", "ana@uni.example") in order(outbox, 2)


def test_claim_alternates_between_the_owner_and_everybody_else(outbox: Outbox) -> None:
    """A13: however many recipients wait, every second message is for those who operate the notifier."""
    for number in range(50):
        enqueue(outbox, f"flood{number}", to=f"{number}@lab.example", audience=Audience.SUBMITTER)
    for number in range(3):
        enqueue(outbox, f"own{number}")

    assert [to for _, to in order(outbox, 6)].count(READER) == 3


def test_claim_sends_high_severity_first(outbox: Outbox) -> None:
    """A13"""
    for number in range(20):
        enqueue(outbox, f"low{number}")
    enqueue(outbox, "broken", Kind.JOB_FAILED)

    assert order(outbox, 1) == [("job/broken", READER)]


def test_claim_sends_what_an_urgent_message_waits_for_before_it(outbox: Outbox) -> None:
    """A13: the order within a conversation stays, and the whole conversation is moved forward."""
    for number in range(20):
        enqueue(outbox, f"low{number}")
    enqueue(outbox, "broken", Kind.JOB_SUBMITTED)
    enqueue(outbox, "broken", Kind.JOB_APPROVED)
    enqueue(outbox, "broken", Kind.JOB_FAILED)
    kinds = []
    for _ in range(3):
        (due,) = claim(outbox, "box", 100.0, by="me")
        outbox.sent([due], 100.0)
        kinds.append((due.event.entity, due.event.kind))

    assert kinds == [("job/broken", kind) for kind in (Kind.JOB_SUBMITTED, Kind.JOB_APPROVED, Kind.JOB_FAILED)]


def test_claim_leaves_an_urgent_message_whose_conversation_is_busy(outbox: Outbox) -> None:
    enqueue(outbox, "broken", Kind.JOB_SUBMITTED)
    (first,) = claim(outbox, "box", 100.0, by="me")
    enqueue(outbox, "broken", Kind.JOB_FAILED)
    enqueue(outbox, "other")

    assert claim(outbox, "box", 100.0, by="me")[0].event.entity == "job/other"
    assert claim(outbox, "box", 100.0, by="me") == []
    outbox.sent([first], 100.0)
    assert claim(outbox, "box", 100.0, by="me")[0].event.kind is Kind.JOB_FAILED


def steps_of(outbox: Outbox, act: Callable[[], object]) -> int:
    """Instructions of SQLite's virtual machine, in tens, while `act` uses the one connection that the pool has."""
    connection = outbox._engine.raw_connection()
    driver = connection.driver_connection
    connection.close()  # back into the pool, which gives it to `act`
    assert isinstance(driver, sqlite3.Connection)
    steps = 0

    def note() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(note, 10)
    act()
    driver.set_progress_handler(None, 10)
    return steps


def history(path: Path, count: int, entity: str) -> None:
    """So many sent notifications of one entity to one recipient, as earlier months left them."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO events (key, kind, entity, occurrence, at, payload, noticed_at) "
            "VALUES (?, ?, ?, ?, '', '{}', 0)",
            ((f"old{number}", "job_completed", entity, str(number)) for number in range(count)),
        )
        connection.executemany(
            "INSERT INTO notifications (id, event_key, entity, medium, recipient, audience, transport, bundle, state, "
            "reason, created_at, not_before, failures, refusals, thread) "
            "VALUES (?, ?, ?, 'mail', ?, 'owner', 'box', '', 'sent', '', 0, 0, 0, 0, '')",
            ((f"old{number}", f"old{number}", entity, READER) for number in range(count)),
        )
        connection.executemany(
            "INSERT INTO attempts (notification, started_at, ended_at, outcome, error, provider_id) "
            "VALUES (?, 0, 0, 'sent', '', '')",
            ((f"old{number}",) for number in range(count)),
        )


def test_claim_cost_does_not_grow_with_the_history_of_an_entity(tmp_path: Path) -> None:
    """A13: counted in instructions of SQLite, so that a slow machine changes nothing."""
    steps = []
    for number, past in enumerate((200, 10_000)):
        path = tmp_path / f"{number}.db"
        outbox = Outbox(path)
        history(path, past, "job/busy")
        for run in range(20):
            enqueue(outbox, "busy", Kind.JOB_FAILED, occurrence=f"new{run}")
        claimed: list[object] = []
        steps.append(steps_of(outbox, lambda: claimed.append(claim(outbox, "box", 100.0, by="me"))))  # noqa: B023 - called at once
        assert claimed[0]
        outbox.close()

    assert steps[0] > 0
    assert steps[1] <= 2 * steps[0], steps


def test_claim_cost_of_an_urgent_message_does_not_grow_with_the_queue(tmp_path: Path) -> None:
    """A13: counted in instructions of SQLite, so that a slow machine changes nothing."""
    steps = []
    for waiting in (100, 3_000):
        outbox = Outbox(tmp_path / f"{waiting}.db")
        for number in range(waiting):
            enqueue(outbox, f"low{number}")
        enqueue(outbox, "broken", Kind.JOB_FAILED)
        steps.append(steps_of(outbox, lambda: claim(outbox, "box", 100.0, by="me")))  # noqa: B023 - called at once
        assert outbox.counts().waiting == waiting + 1
        outbox.close()

    assert 0 < steps[1] <= 2 * steps[0], steps


def test_claim_cost_of_a_busy_urgent_conversation_grows_with_its_length_only(tmp_path: Path) -> None:
    """A13: in proportion, and not with the square of it."""
    steps = []
    for waiting in (200, 2_000):
        outbox = Outbox(tmp_path / f"{waiting}.db")
        events = [Event(Kind.JOB_FAILED, "job/broken", str(number)) for number in range(waiting)]
        items = [Notification(event.key, event.entity, READER, Audience.OWNER, "box") for event in events]
        outbox.put(events, items, 0.0)
        assert claim(outbox, "box", 100.0, by="me")
        steps.append(steps_of(outbox, lambda: claim(outbox, "box", 100.0, by="me")))  # noqa: B023 - called at once
        outbox.close()

    assert 0 < steps[1] <= 20 * steps[0], steps


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


@pytest.mark.parametrize("statement", BAD_ROWS.values(), ids=BAD_ROWS)
@pytest.mark.parametrize("bundle", ["", "b"])
def test_claim_quarantines_a_row_that_cannot_be_read(
    tmp_path: Path, outbox: Outbox, statement: str, bundle: str
) -> None:
    """A2: it becomes a dead letter with the reason, and everything else is sent."""
    enqueue(outbox, "bad", bundle=bundle)
    for name in "ab":
        enqueue(outbox, name, bundle=bundle)
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        connection.execute(statement)

    sent = []
    while due := claim(outbox, "box", 100.0, by="me"):
        outbox.sent(due, 100.0)
        sent += [item.event.entity for item in due]

    assert sorted(sent) == ["job/a", "job/b"]
    assert outbox.counts().dead == outbox.counts().unacknowledged == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        (reason,) = connection.execute("SELECT reason FROM notifications WHERE state = 'dead'").fetchone()
    assert reason.startswith("quarantined: ")
    (letter,) = outbox.unreported_dead_letters()
    outbox.mark_reported([letter.id], 100.0)
    assert outbox.unreported_dead_letters() == []
    assert len(outbox.history()) == len(outbox.messages_since(0.0)) + 1 + (1 if bundle else 0)
    assert [event.entity for event in outbox.noticed("job/bad")] == ["job/bad"]


class Counted:
    """A throttle that lets every message pass and counts those recorded."""

    def __init__(self) -> None:
        self.recorded = 0

    def gathering(self, recipient: str, kind: Kind, source: str, bundle: str) -> None:
        return None

    def record(self, recipient: str, bundle: str, source: str) -> None:
        self.recorded += 1

    def undo(self) -> None:
        self.recorded = 0


def test_claim_that_quarantines_a_row_records_no_message_twice(tmp_path: Path, outbox: Outbox) -> None:
    """A2, C3: a daily share would count the surplus for a day."""
    for name in ("a", "bad", "c"):
        enqueue(outbox, name)
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        connection.execute(BAD_ROWS["kind"])
    throttle = Counted()

    assert len(outbox.claim("box", 100.0, by="me", most=5, throttle=throttle)) == throttle.recorded == 2


def test_recover_leaves_attempts_of_this_process_alone_until_their_outcome_is_saved(
    tmp_path: Path, outbox: Outbox
) -> None:
    """A10: also when saving it fails the first time."""
    enqueue(outbox, "a")
    due = claim(outbox, "box", 100.0, by="me")
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        connection.execute(
            "CREATE TRIGGER fails BEFORE UPDATE ON notifications BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
    with pytest.raises(StateError), outbox.together():
        outbox.sent(due, 100.0)
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        connection.execute("DROP TRIGGER fails")

    assert outbox.recover(100.0) == 0
    with outbox.together():
        outbox.sent(due, 100.0)
    assert outbox.counts() == tally(sent=1)


def test_acknowledge_and_requeue_end_the_count_of_new_dead_letters(outbox: Outbox) -> None:
    """A4"""
    for name in "abc":
        enqueue(outbox, name)
        outbox.failed(claim(outbox, "box", 100.0, by="me"), 100.0, Failure.REFUSED, "550", Verdict("dead"))
    first, second, third = outbox.unreported_dead_letters()
    outbox.mark_reported([first.id], 100.0)

    assert [letter.id for letter in outbox.unreported_dead_letters()] == [second.id, third.id]
    assert outbox.acknowledge(100.0, [second.id]) == 1
    assert outbox.revive([third.id]) == 1
    assert outbox.counts() == tally(waiting=1, dead=2, unacknowledged=1)
    assert outbox.acknowledge(100.0) == 1
    assert outbox.counts().unacknowledged == 0


def test_totals_survive_pruning_and_count_messages_and_notifications(outbox: Outbox) -> None:
    """B10: one catch-up mail of many items is one message."""
    for number in range(5):
        enqueue(outbox, f"n{number}", bundle="catch-up")
    enqueue(outbox, "single")
    order(outbox, 2)
    before = outbox.counts()
    outbox.prune(1e9, 1e12, sparing=())

    assert before == tally(sent=2, notifications=6)
    assert outbox.counts() == before


def test_prune_keeps_dead_letters_until_they_are_acknowledged(outbox: Outbox) -> None:
    """A4: they keep the worker unhealthy until a person has seen them."""
    enqueue(outbox, "a")
    outbox.failed(claim(outbox, "box", 100.0, by="me"), 100.0, Failure.REFUSED, "550", Verdict("dead"))

    assert outbox.prune(1e9, 1e12, sparing=()) == 0
    outbox.acknowledge(100.0)
    assert outbox.prune(1e9, 1e12, sparing=()) == 1
