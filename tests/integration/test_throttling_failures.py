"""Throttling together with failures, restarts of attempts and clocks."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.throttling import (
    FLOOD,
    OTHER,
    READER,
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
from tests.support import Clock, claim, claim_and_crash, tally, wait_until


def test_rows_blocked_by_an_attempt_wait_for_the_next_digest(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: they are not sent in one small digest each as soon as that attempt ends."""
    box = DigestRecorder()
    slow = numbered(5)
    box.gates = {f"job/{name}": threading.Event() for name in slow}
    enqueue_sent(outbox, clock, tmp_path, numbered(195, 1000))
    enqueue_jobs(outbox, clock, slow)
    later = [Event(EventKind.JOB_APPROVED, f"job/{name}", "T", "", {"name": name, "submitter": FLOOD}) for name in slow]
    outbox.enqueue(later, [notification_of(event) for event in later], clock.now)
    enqueue_jobs(outbox, clock, numbered(20, 2000))
    dispatcher = make_throttling(box=box)
    drain = threading.Thread(target=dispatcher.drain)
    drain.start()
    wait_until(lambda: box.digests)
    for held in box.gates.values():
        held.set()
    drain.join()
    assert [sorted(digest) for digest in box.digests] == [[f"job/{name}" for name in numbered(20, 2000)]]
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert sorted(name for message in box.accepted[6:] for name in entities(message)) == [
        f"job/{name}" for name in slow
    ]
    assert outbox.history.counts().waiting == 0


def test_unknown_outcome_is_resent_alone_with_the_same_id(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X03, X06: in a digest, its recipient could not recognize a duplicate."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(199))
    box.faults["job/cut"] = [DeliveryError(Failure.UNKNOWN, "cut off")]
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, ["cut"])
    dispatcher.drain()
    (name,) = box.attempted
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    dispatcher.drain()
    assert [len(digest) for digest in box.digests] == [10], "an unknown outcome counts as a message"
    clock.advance(60)
    enqueue_jobs(outbox, clock, numbered(10, 2000))
    dispatcher.drain()

    assert box.attempted[name] == 2
    assert box.singles == ["job/cut"]
    assert all("job/cut" not in digest for digest in box.digests)
    assert outbox.history.counts() == tally(waiting=10, sent=201, notifications=210, unknown=1)


@pytest.mark.parametrize("is_requeued", [False, True])
def test_row_found_sending_is_resent_alone_with_the_same_id(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path, is_requeued: bool
) -> None:
    """X03, X04: the worker was killed after the message had been sent, also when a person requeues it."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    enqueue_jobs(outbox, clock, ["cut"])
    (lost,) = claim_and_crash(tmp_path / "outbox.db", "box", clock.now)
    outbox.queue.recover(clock.now)
    if is_requeued:
        outbox.dead_letters.requeue([lost.id])
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    make_throttling(box=box).drain()

    assert box.singles == ["job/cut"]
    assert box.attempted[lost.id] == 1
    assert [len(digest) for digest in box.digests] == [10]


def test_retry_after_holds_while_throttled(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """G10: a digest does not bypass `Retry-After`."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    enqueue_jobs(outbox, clock, ["slow"])
    asked = AttemptOutcome(NotificationState.PENDING, not_before=clock.now + 5000.0, is_temporary=True)
    outbox.queue.mark_failed(
        claim(outbox, "box", clock.now, worker_id="before"), clock.now, Failure.TEMPORARY, "429", asked
    )
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    dispatcher = make_throttling(box=box)
    dispatcher.drain()
    clock.advance(4999)
    dispatcher.drain()
    assert "job/slow" not in [*box.singles, *(entity for digest in box.digests for entity in digest)]
    assert outbox.history.counts() == tally(waiting=1, sent=201, notifications=210, failed=1)
    clock.advance(2)
    dispatcher.drain()

    assert outbox.history.counts() == tally(sent=202, notifications=211)


def test_events_of_one_job_stay_in_order_while_throttled(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: while the first message about a job is in flight, no digest contains the second."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(199))
    box.gates["job/x"] = threading.Event()
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, ["x"])
    dispatcher.start()
    wait_until(
        lambda: (
            outbox.dead_letters.states(notification_of(submitted("x")).id)
            == {notification_of(submitted("x")).id: "sending"}
        )
    )
    done = Event(EventKind.JOB_COMPLETED, "job/x", "T2", "", {"name": "x", "submitter": FLOOD})
    outbox.enqueue([done], [notification_of(done)], clock.now)
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    dispatcher.wake()
    try:
        wait_until(lambda: box.digests)
        assert [sorted(digest) for digest in box.digests] == [[f"job/{name}" for name in numbered(10, 1000)]]
        assert box.singles == []
    finally:
        box.gates["job/x"].set()
    clock.advance(TEN_MINUTES)
    dispatcher.wake()

    wait_until(lambda: outbox.history.counts() == tally(sent=202, notifications=211))
    about_x = [(entities(message), is_digest(message)) for message in box.accepted if "job/x" in entities(message)]
    assert about_x[0] == (["job/x"], False)
    assert len(about_x) == 2


@pytest.mark.parametrize("failure", [Failure.TEMPORARY, Failure.UNKNOWN])
def test_failed_digest_is_resent_unchanged_with_the_same_id(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path, failure: Failure
) -> None:
    """X03: the same entries under the same id; later ones are not added."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    box.faults["digest"] = [DeliveryError(failure, "failed")]
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    dispatcher.drain()
    (name,) = box.attempted
    clock.advance(1.0)
    enqueue_jobs(outbox, clock, numbered(10, 2000))
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert box.attempted[name] == 2
    (same,) = [message for message in box.accepted if message.id == name]
    assert sorted(entities(same)) == [f"job/{name}" for name in numbered(10, 1000)]
    assert outbox.history.counts().notifications == 220


def test_rejected_messages_do_not_count(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """X06"""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(150))
    names = numbered(60, 1000)
    # Never three in a row, which would pause the transport.
    refused = [name for number, name in enumerate(names) if number % 3 < 2]
    box.faults = {f"job/{name}": [DeliveryError(Failure.PERMANENT, "554")] for name in refused}
    dispatcher = make_throttling(max_concurrent=1, box=box)
    enqueue_jobs(outbox, clock, names)
    dispatcher.drain()
    enqueue_jobs(outbox, clock, numbered(20, 2000))
    dispatcher.drain()

    assert (len(box.singles), box.digests) == (40, [])


def test_digest_goes_on_without_the_row_that_used_up_its_retries(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """G10, X06: `max_retries` counts for each notification of a digest."""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    enqueue_jobs(outbox, clock, ["old"])
    outbox.queue.mark_failed(
        claim(outbox, "box", clock.now, worker_id="before"),
        clock.now,
        Failure.TEMPORARY,
        "503",
        AttemptOutcome(NotificationState.PENDING, is_temporary=True),
    )
    box.faults["digest"] = [DeliveryError(Failure.TEMPORARY, "503")]
    dispatcher = make_throttling(box=box)  # max_retries=1
    enqueue_jobs(outbox, clock, numbered(10, 1000))
    dispatcher.drain()

    assert outbox.history.counts().dead <= 1, "only the row that had its retry is given up"
    clock.advance(TEN_MINUTES)
    dispatcher.drain()
    assert outbox.history.counts().notifications == 210 + 1 - outbox.history.counts().dead


def test_clock_set_back_delays_no_message(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock, tmp_path: Path
) -> None:
    """Promise 4"""
    box = DigestRecorder()
    enqueue_sent(outbox, clock, tmp_path, numbered(200))
    dispatcher = make_throttling(box=box)
    enqueue_jobs(outbox, clock, numbered(5, 1000))
    dispatcher.drain()
    enqueue_jobs(outbox, clock, numbered(5, 2000))
    dispatcher.drain()
    clock.now -= 365 * 86400
    enqueue_jobs(outbox, clock, numbered(5, 3000))
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert [len(digest) for digest in box.digests] == [5, 5]
    assert sorted(box.singles) == [f"job/{name}" for name in numbered(5, 3000)]


def test_sent_since_returns_each_message_once(outbox: SqliteOutbox, clock: Clock, tmp_path: Path) -> None:
    """X06: sent or of unknown outcome, each message once, a digest as one."""
    enqueue_sent(outbox, clock, tmp_path, ["old"], ago=700.0)
    enqueue_sent(outbox, clock, tmp_path, ["young"], ago=100.0)
    enqueue_sent(outbox, clock, tmp_path, ["theirs"], ago=50.0, to=OTHER)
    for name, failure in (("refused", Failure.PERMANENT), ("later", Failure.TEMPORARY), ("cut", Failure.UNKNOWN)):
        enqueue_jobs(outbox, clock, [name])
        verdict = AttemptOutcome(NotificationState.UNKNOWN if failure is Failure.UNKNOWN else NotificationState.DEAD)
        outbox.queue.mark_failed(claim(outbox, "box", clock.now, worker_id="me"), clock.now, failure, "", verdict)
    clock.advance(10)
    outbox.queue.mark_sent(claim(outbox, "box", clock.now, worker_id="me"), clock.now)
    bundle = [submitted(name) for name in ("b1", "b2", "b3")]
    outbox.enqueue(
        bundle, [Notification(e.key, e.entity, READER, Audience.OWNER, "box", bundle="b") for e in bundle], 0.0
    )
    digest = claim(outbox, "box", clock.now, worker_id="me")
    assert len(digest) == 3
    outbox.queue.mark_sent(digest, clock.now)

    found = outbox.history.sent_since(clock.now - 600.0)
    assert {(message.recipient, message.bundle, message.at) for message in found} == {
        (READER, "", clock.now - 110.0),
        (OTHER, "", clock.now - 60.0),
        (READER, "", clock.now),
        (READER, digest[0].bundle, clock.now),
    }
    assert found == sorted(found, key=lambda message: message.at)


def test_digest_of_unknown_outcome_is_resent_unchanged(
    make_throttling: Make, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03: also when a further row belonged to it, and was blocked by an earlier message about the same job."""
    box = DigestRecorder()
    dispatcher = make_throttling(box=box, max_concurrent=1)
    enqueue_jobs(outbox, clock, ["1"])
    later = datetime.fromtimestamp(clock.now + 3000, UTC)
    box.faults["job/1"] = [DeliveryError(Failure.TEMPORARY, "later", not_before=later)]
    dispatcher.drain()
    completed = [
        Event(EventKind.JOB_COMPLETED, f"job/{n}", "T", "", {"name": str(n), "submitter": FLOOD}) for n in range(1, 7)
    ]
    outbox.enqueue(completed, [replace(notification_of(event), bundle="bundle-x") for event in completed], clock.now)
    box.faults["digest"] = [DeliveryError(Failure.UNKNOWN, "cut off")]
    dispatcher.drain()
    (name,) = [name for name in box.attempted if name != notification_of(submitted("1")).id]
    for _ in range(3):
        clock.advance(3700)
        dispatcher.drain()

    assert outbox.history.counts() == tally(sent=3, notifications=7, unknown=5)
    assert box.attempted[name] == 2
    (digest,) = [message for message in box.accepted if message.id == name]
    assert entities(digest) == [f"job/{n}" for n in range(2, 7)]
