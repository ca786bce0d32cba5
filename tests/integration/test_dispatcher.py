"""Dispatcher: what follows from the outcome of an attempt."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syftnotify.core.errors import DeliveryError, Failure, StateError
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.ports import Renderer
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.store.outbox.store import SqliteOutbox
from tests.fakes.recording_transport import RENDERER, RecordingTransport, enqueue_jobs, transport_queue
from tests.support import Clock, MakeDispatcher, claim_and_crash, tally, wait_until


def test_drain_delivers_all_due_messages(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    transport = RecordingTransport()
    enqueue_jobs(outbox, 20)
    make(transport_queue(transport)).drain()

    assert len({message.id for message in transport.accepted}) == 20
    assert outbox.history.counts() == tally(sent=20)


class BadReceipt(RecordingTransport):
    """Gives its first message an id that no database accepts."""

    def send(self, message: Message) -> Receipt:
        receipt = super().send(message)
        return Receipt("\ud800") if message is self.accepted[0] else receipt


def test_outcome_that_cannot_be_recorded_blocks_no_other(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    enqueue_jobs(outbox, 5)
    transport = BadReceipt()
    dispatcher = make(transport_queue(transport))
    dispatcher.drain()

    assert len(transport.accepted) == 5
    assert outbox.history.counts() == tally(sent=4, waiting=1)
    assert "surrogates" in dispatcher.status.last_error.text


def test_drain_delivers_messages_that_an_attempt_unblocked(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    events = [Event(kind, "job/x", "T", "", {"name": "x"}) for kind in (EventKind.JOB_SUBMITTED, EventKind.JOB_FAILED)]
    outbox.enqueue(events, [Notification(each.key, "job/x", "o@x.org", Audience.OWNER, "box") for each in events], 0.0)
    make(transport_queue(RecordingTransport())).drain()

    assert outbox.history.counts() == tally(sent=2)


def test_temporary_failure_is_retried_after_the_backoff(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    transport = RecordingTransport()
    transport.failures = [DeliveryError(Failure.TEMPORARY, "503")]
    enqueue_jobs(outbox, 1)
    dispatcher = make(transport_queue(transport))
    dispatcher.drain()
    assert (transport.accepted, outbox.history.counts()) == ([], tally(waiting=1, failed=1))
    clock.advance(3600)
    dispatcher.drain()

    assert len(transport.accepted) == 1


def test_error_of_the_outbox_before_the_message_is_sent_is_no_failure_of_it(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X12: for example while a standby of the database is promoted; also with `max_retries: 0`."""
    transport, errors = RecordingTransport(), [StateError("the database cannot be used")]

    def renderer_of(_scope: str, _published: str) -> Renderer:
        if errors:
            raise errors.pop()
        return RENDERER

    enqueue_jobs(outbox, 1)
    queue = TransportQueue("box", transport, RENDERER, QueueOptions(max_retries=0), renderers=renderer_of)
    dispatcher = make(queue)
    dispatcher.drain()
    assert (transport.attempted, outbox.history.counts()) == ([], tally(waiting=1))
    clock.advance(5)
    dispatcher.drain()

    assert (len(transport.accepted), outbox.history.counts()) == (1, tally(sent=1))


def test_permanent_failure_is_a_dead_letter_after_one_attempt(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    transport = RecordingTransport()
    transport.failures = [DeliveryError(Failure.PERMANENT, "400")]
    enqueue_jobs(outbox, 1)
    make(transport_queue(transport)).drain()

    assert outbox.history.counts() == tally(dead=1)


@pytest.mark.parametrize("failure", [Failure.AUTH, Failure.QUOTA])
def test_pause_keeps_all_messages_in_order(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, failure: Failure
) -> None:
    """X07"""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(failure, "sign in again")]
    enqueue_jobs(outbox, 5)
    box = transport_queue(transport)
    dispatcher = make(box, max_concurrent=1)
    dispatcher.drain()

    assert box.health.unavailable_reason(clock.monotonic_now) == "sign in again"
    assert outbox.history.counts() == tally(waiting=5)
    clock.advance(7200)
    dispatcher.drain()
    assert [message.subject for message in transport.accepted] == [
        f'SyftBox job "job {n}" from a@b.org' for n in range(5)
    ]
    assert box.health.pause_reason == ""


def test_unknown_outcome_is_resent_with_the_same_id(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    """X03"""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
    enqueue_jobs(outbox, 1)
    dispatcher = make(transport_queue(transport))
    dispatcher.drain()
    due = outbox.history.counts()
    clock.advance(3600)
    dispatcher.drain()

    assert due == tally(waiting=1, failed=1, unknown=1)
    assert outbox.history.counts() == tally(sent=1, unknown=1)
    assert len(transport.accepted) == 1
    assert transport.attempted == [transport.accepted[0].id] * 2


def test_unknown_outcome_on_hold_waits_for_requeue_and_blocks_nothing(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03: `on_unknown: hold`."""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
    enqueue_jobs(outbox, 1)
    dispatcher = make(transport_queue(transport, resend_unknown=False))
    dispatcher.drain()
    (held,) = transport.attempted
    assert outbox.dead_letters.states(held) == {held: "unknown"}
    later = Event(EventKind.JOB_COMPLETED, "job/box/0", "T2", "", {"name": "job 0", "submitter": "a@b.org"})
    outbox.enqueue([later], [Notification(later.key, later.entity, "o@x.org", Audience.OWNER, "box")], 0.0)
    enqueue_jobs(outbox, 3, start=1)
    for _ in range(5):
        clock.advance(3600)
        dispatcher.drain()

    assert transport.attempted.count(held) == 1
    assert outbox.history.counts(holding=["box"]) == tally(sent=4, unknown=1, held=1)
    assert outbox.dead_letters.requeue([held]) == 1
    dispatcher.drain()
    assert [message.id for message in transport.accepted][-1] == held
    assert outbox.history.counts(holding=["box"]) == tally(sent=5, unknown=1)


@pytest.mark.parametrize(
    ("resend", "attempted", "counts"), [(True, 1, tally(sent=1, unknown=1)), (False, 0, tally(held=1, unknown=1))]
)
def test_message_of_a_killed_worker_has_an_unknown_outcome(
    make: MakeDispatcher,
    outbox: SqliteOutbox,
    clock: Clock,
    tmp_path: Path,
    resend: bool,
    attempted: int,
    counts: OutboxCounts,
) -> None:
    """X01, X03: a message found sending at the start is treated as one that was cut off."""
    transport = RecordingTransport()
    enqueue_jobs(outbox, 1)
    (lost,) = claim_and_crash(tmp_path / "outbox.db", "box", clock.now)
    outbox.queue.recover(clock.now)
    make(transport_queue(transport, resend_unknown=resend)).drain()

    assert transport.attempted == [lost.id] * attempted
    assert outbox.history.counts(holding=[] if resend else ["box"]) == counts


def test_two_unknown_outcomes_in_a_row_pause_the_transport(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03: a proxy that loses every answer doubles a few messages, not all that are waiting."""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(Failure.UNKNOWN, "cut off")] * 2
    enqueue_jobs(outbox, 20)
    box = transport_queue(transport)
    dispatcher = make(box, max_concurrent=1)
    dispatcher.drain()

    assert len(transport.attempted) == 2, "the second one pauses the transport"
    assert box.health.paused_until > clock.monotonic()
    assert not box.health.pause_reason, "no action is needed"
    assert outbox.history.counts() == tally(waiting=20, failed=2, unknown=2)
    clock.advance(3600)
    dispatcher.drain()
    assert outbox.history.counts() == tally(sent=20, unknown=2)
    assert box.health.consecutive_timeouts == 0
    assert set(transport.attempted[:2]) <= {message.id for message in transport.accepted}


def test_single_unknown_outcome_pauses_nothing(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    """X03"""
    transport = RecordingTransport()
    enqueue_jobs(outbox, 20)
    box = transport_queue(transport)
    dispatcher = make(box, max_concurrent=1)
    for number in range(3):
        transport.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
        dispatcher.drain()
        enqueue_jobs(outbox, 5, start=100 * (number + 1))
    dispatcher.drain()

    assert box.health.paused_until == 0.0
    assert outbox.history.counts().sent == 32


@pytest.mark.parametrize(
    ("failure", "label"),
    [
        (Failure.PERMANENT, "FAILED_DELIVERY"),
        (Failure.TEMPORARY, "FAILED_DELIVERY"),
        *((each, "FAILED_TRANSPORT") for each in Failure if each not in {Failure.PERMANENT, Failure.TEMPORARY}),
    ],
)
def test_failed_attempt_is_logged_with_the_label_of_its_class(
    make: MakeDispatcher, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture, failure: Failure, label: str
) -> None:
    """B11"""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(failure, "no")]
    enqueue_jobs(outbox, 1)
    make(transport_queue(transport)).drain()

    assert f"notification {label}: job_submitted to o@x.org" in caplog.text


def test_message_that_cannot_be_rendered_is_a_dead_letter_alone(
    make: MakeDispatcher, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A2, N23: another attempt would change nothing, and the other messages are sent."""
    event = Event(EventKind.JOB_SUBMITTED, "job/x", payload={"code": 5})  # not a list
    outbox.enqueue([event], [Notification(event.key, event.entity, "o@x.org", Audience.OWNER, "box")], 0.0)
    transport = RecordingTransport()
    enqueue_jobs(outbox, 3)
    make(transport_queue(transport)).drain()

    assert len(transport.accepted) == 3
    assert "TypeError" in caplog.text
    assert outbox.history.counts() == tally(sent=3, dead=1)


def test_digest_waits_as_long_as_a_single_message(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    events = [Event(EventKind.JOB_SUBMITTED, f"job/{n}", "T", "", {"name": str(n)}) for n in range(100)]
    items = [Notification(e.key, e.entity, "o@x.org", Audience.OWNER, "box", bundle="b") for e in events]
    outbox.enqueue(events, items, 0.0)
    transport = RecordingTransport()
    transport.failures = [
        DeliveryError(Failure.TEMPORARY, "503", not_before=datetime.fromtimestamp(clock.now + 500, UTC))
    ]
    dispatcher = make(transport_queue(transport))
    dispatcher.drain()
    clock.advance(499)
    dispatcher.drain()
    assert (len(transport.accepted), outbox.history.counts().waiting) == (0, 100)
    clock.advance(2)
    dispatcher.drain()

    assert len(transport.accepted) == 1
    assert outbox.history.counts() == tally(sent=1, notifications=100)


def test_outcome_that_could_not_be_saved_is_saved_later(
    make: MakeDispatcher, outbox: SqliteOutbox, tmp_path: Path
) -> None:
    """X01"""
    transport = RecordingTransport()
    transport.gate.clear()
    enqueue_jobs(outbox, 1)
    dispatcher = make(transport_queue(transport))
    dispatcher.start()
    wait_until(lambda: transport.in_flight == 1)
    (tmp_path / "outbox.db").chmod(0o600)
    blocker = sqlite3.connect(tmp_path / "outbox.db", timeout=5)
    blocker.execute("ALTER TABLE attempts RENAME TO elsewhere")
    blocker.commit()
    transport.gate.set()
    wait_until(lambda: "attempts" in dispatcher.status.last_error.text)
    blocker.execute("ALTER TABLE elsewhere RENAME TO attempts")
    blocker.commit()
    blocker.close()

    wait_until(lambda: outbox.history.counts() == tally(sent=1))
    assert len(transport.accepted) == 1


def test_auth_failure_pauses_until_a_message_is_accepted(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X07"""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(Failure.AUTH, "403 accessNotConfigured")] * 3
    enqueue_jobs(outbox, 1)
    box = transport_queue(transport)
    dispatcher = make(box)
    for _ in range(3):
        dispatcher.drain()
        assert box.health.pause_reason
        clock.advance(301)
    dispatcher.drain()

    assert (box.health.pause_reason, len(transport.accepted)) == ("", 1)


def test_failed_sign_in_pauses_before_the_first_message_and_recovers(make: MakeDispatcher, clock: Clock) -> None:
    transport = RecordingTransport()
    transport.checks = [DeliveryError(Failure.AUTH, "sign in again")]
    box = transport_queue(transport)
    dispatcher = make(box)
    dispatcher.start()
    wait_until(lambda: box.health.pause_reason == "sign in again")
    transport.checks = []
    clock.advance(301)
    dispatcher.wake()

    wait_until(lambda: box.health.pause_reason == "")
