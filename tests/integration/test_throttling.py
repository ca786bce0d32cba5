"""Throttling: more than 200 messages to one recipient in ten minutes become digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.throttle import (
    ThrottleRule,
)
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.throttling import (
    FLOOD,
    OTHER,
    READER,
    RENDERER,
    TEN_MINUTES,
    DigestRecorder,
    Make,
    enqueue_jobs,
    enqueue_sent,
    entities,
    is_digest,
    notification_of,
    numbered,
    submitted,
)
from tests.support import Clock, tally

RARE = "rare@uni.example"


@pytest.mark.thorough
def test_messages_above_the_threshold_are_one_digest(make_throttling: Make, outbox: SqliteOutbox, clock: Clock) -> None:
    """X06"""
    box = DigestRecorder()
    enqueue_jobs(outbox, clock, numbered(250))
    make_throttling(box=box).drain()

    assert sorted(box.singles) == [f"job/{name}" for name in numbered(200)]
    assert [sorted(digest) for digest in box.digests] == [[f"job/{name}" for name in numbered(50, 200)]]
    (digest,) = [message for message in box.accepted if is_digest(message)]
    assert all(name in digest.text and name in digest.html for name in numbered(50, 200))
    assert digest.recipient == READER
    assert digest.subject == "SyftBox: 50 waiting"
    assert outbox.history.counts() == tally(sent=201, notifications=250)


@pytest.mark.thorough
def test_next_digest_is_due_one_interval_after_the_last(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X06"""
    box = DigestRecorder()
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, numbered(201))
    dispatcher.drain()
    started = clock.now
    for number, pause in enumerate((0.0, 29.5, 300.0, 270.0)):
        clock.advance(pause)
        enqueue_jobs(outbox, clock, numbered(5, 1000 + 5 * number))
        dispatcher.drain()
    assert (len(box.singles), len(box.digests)) == (200, 1)
    assert outbox.history.counts() == tally(waiting=20, sent=201)
    assert outbox.queue.next_due("box", clock.now) == started + TEN_MINUTES
    clock.now = started + TEN_MINUTES - 0.01
    dispatcher.drain()
    assert len(box.digests) == 1
    clock.now = started + TEN_MINUTES
    dispatcher.drain()

    assert [sorted(digest) for digest in box.digests[1:]] == [[f"job/{name}" for name in numbered(20, 1000)]]
    assert outbox.history.counts() == tally(sent=202, notifications=221)


@pytest.mark.thorough
def test_messages_are_single_again_after_the_window(make_throttling: Make, outbox: SqliteOutbox, clock: Clock) -> None:
    """X06"""
    box = DigestRecorder()
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, numbered(210))
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    enqueue_jobs(outbox, clock, numbered(3, 1000))
    dispatcher.drain()

    assert sorted(box.singles)[200:] == [f"job/{name}" for name in numbered(3, 1000)]


def test_throttling_concerns_one_recipient_only(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06"""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    enqueue_jobs(outbox, clock, numbered(10, 2000), to=OTHER)
    make_throttling(box=box).drain()

    assert [len(digest) for digest in box.digests] == [10]
    assert sorted(box.singles) == [f"job/{name}" for name in numbered(10, 2000)]
    assert {message.recipient for message in box.accepted if not is_digest(message)} == {OTHER}


@pytest.mark.parametrize("kind", [EventKind.SYSTEM_ALERT, EventKind.TEST])
def test_alerts_of_the_worker_are_never_in_a_digest(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path, kind: EventKind
) -> None:
    """X06, X07: an alert about a failed sign-in must not wait ten minutes."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(201))
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, numbered(5, 1000))
    dispatcher.drain()
    enqueue_jobs(outbox, clock, numbered(5, 2000))
    alert = Event(kind, "transport/mail", "T", "", {"summary": "mail cannot be sent", "detail": "sign in"})
    outbox.enqueue([alert], [notification_of(alert)], clock.now)
    enqueue_jobs(outbox, clock, numbered(5, 3000))
    dispatcher.drain()

    assert box.singles == ["transport/mail"]
    assert len(box.digests) == 1
    assert outbox.history.counts().waiting == 10


@pytest.mark.thorough
def test_restart_within_the_window_keeps_the_count(make_throttling: Make, outbox: SqliteOutbox, clock: Clock) -> None:
    """X06, X01: the count survives a crash."""
    box = DigestRecorder()
    enqueue_jobs(outbox, clock, numbered(250))
    make_throttling(box=box).drain()
    started = clock.now
    clock.advance(60)
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    make_throttling(box=box).drain()
    assert (len(box.singles), len(box.digests)) == (200, 1)
    clock.advance(30)
    enqueue_jobs(outbox, clock, numbered(10, 2000))
    make_throttling(box=box).drain()
    assert (len(box.singles), len(box.digests)) == (200, 1)
    clock.now = started + TEN_MINUTES
    make_throttling(box=box).drain()

    assert [len(digest) for digest in box.digests] == [50, 20]


def test_restart_keeps_an_interval_longer_than_the_window(outbox: SqliteOutbox, clock: Clock) -> None:
    """X06: the time of the last digest counts, although it is no longer within the window of messages."""
    rule = ThrottleRule(3, 60.0, 600.0)
    box = DigestRecorder()

    def restart() -> None:
        dispatcher = Dispatcher(
            outbox,
            [TransportQueue("box", box, RENDERER)],
            worker_id="test",
            throttle_rules=[rule],
            clock=clock.time,
            monotonic=clock.monotonic,
        )
        dispatcher.drain()
        dispatcher.stop()

    for start in (0, 100):
        enqueue_jobs(outbox, clock, numbered(5, start))
        restart()
        clock.advance(300)
    assert (len(box.singles), len(box.digests)) == (6, 1), "the second digest is due 600 s after the first"
    restart()

    assert len(box.digests) == 2


@pytest.mark.parametrize("oldest_first", [True, False])
def test_restart_counts_each_message_at_its_own_time(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path, oldest_first: bool
) -> None:
    """X06: when most of the messages are older than the window, throttling ends, whatever the order of the rows."""
    by_id = sorted(numbered(200), key=lambda name: notification_of(submitted(name)).id)
    old, young = (by_id[:150], by_id[150:]) if oldest_first else (by_id[50:], by_id[:50])
    enqueue_sent(outbox, clock, tmp_path, old, ago=500.0)
    enqueue_sent(outbox, clock, tmp_path, young, ago=0.0)
    box = DigestRecorder()
    dispatcher = make_throttling(box=box)
    dispatcher.drain()  # reads the history while all of it is within the window
    clock.advance(200)
    enqueue_jobs(outbox, clock, ["after"])
    dispatcher.drain()

    assert box.singles == ["job/after"]


def test_digest_lists_submitters_with_the_fewest_entries_first(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: one sender cannot hide the others, even if not all entries are listed."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    enqueue_jobs(outbox, clock, numbered(150, 1000))
    enqueue_jobs(outbox, clock, ["b1", "b2"], by="two@uni.example")
    enqueue_jobs(outbox, clock, ["rare"], by=RARE)
    make_throttling(box=box).drain()

    (digest,) = box.accepted
    names = [value.removeprefix("job/") for value in entities(digest)]
    assert names[:3] == ["rare", "b1", "b2"]
    assert len(names) == 153
    lines = digest.text.splitlines()
    headings = [f"{RARE}, 1 job", "two@uni.example, 2 jobs", f"{FLOOD}, 150 jobs"]
    assert [line for line in lines if "@" in line and " job" in line] == headings
    rows = [line for line in lines if line.startswith("- ")]
    assert len(rows) == 101
    assert rows[-1] == "- and 53 more"


def test_events_of_one_job_in_one_digest_are_one_row_about_the_latest(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06"""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    done = Event(EventKind.JOB_COMPLETED, "job/x", "T2", "", {"name": "x", "submitter": FLOOD})
    enqueue_jobs(outbox, clock, ["x"])
    outbox.enqueue([done], [notification_of(done)], clock.now)
    make_throttling(box=box).drain()

    (digest,) = box.accepted
    assert entities(digest) == ["job/x", "job/x"]
    assert [line for line in digest.text.splitlines() if line.startswith("- ")] == ['- "x": done']


def test_later_event_of_a_job_waits_for_the_digest_with_the_earlier(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: also when single messages are allowed again."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200), ago=550.0)
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, ["first"])
    dispatcher.drain()
    enqueue_jobs(outbox, clock, ["x"])
    dispatcher.drain()
    clock.advance(60)  # the window is empty, the digest waits for 540 s more
    done = Event(EventKind.JOB_COMPLETED, "job/x", "T2", "", {"name": "x", "submitter": FLOOD})
    outbox.enqueue([done], [notification_of(done)], clock.now)
    enqueue_jobs(outbox, clock, ["y"])
    dispatcher.drain()
    assert (box.digests, box.singles) == ([["job/first"]], ["job/y"])
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert (box.digests, box.singles) == ([["job/first"], ["job/x"]], ["job/y", "job/x"])


def test_each_transport_sends_its_own_digest(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06, N16: one recipient with two transports."""
    one, two = DigestRecorder(), DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200), transport="one")
    dispatcher = make_throttling(one=one, two=two)
    enqueue_jobs(outbox, clock, ["first"], transport="one")
    dispatcher.drain()
    clock.advance(10)
    enqueue_jobs(outbox, clock, ["by-one"], transport="one")
    enqueue_jobs(outbox, clock, ["by-two"], transport="two")
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert one.digests == [["job/first"], ["job/by-one"]]
    assert [entities(message) for message in two.accepted] == [["job/by-two"]]
