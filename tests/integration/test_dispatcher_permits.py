"""Dispatcher: rate, permits, and independence of transports."""

from __future__ import annotations

import threading

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.ports import Transport
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.transports.smtp.settings import SmtpSettings
from tests.fakes.mailserver import HOST, ids, never_respond, serve_mail, serve_raw
from tests.fakes.recording_transport import RecordingTransport, enqueue_jobs, transport_queue
from tests.support import Clock, MakeDispatcher, tally, transport_for, wait_until


def smtp(port: int) -> Transport:
    section = SmtpSettings.model_validate({"type": "smtp", "smtp_url": f"smtp://{HOST}:{port}"})
    return transport_for(section)


def test_outcomes_are_recorded_while_messages_are_sent(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """X01: a kill must not make many messages of a fast server unknown."""
    transport = RecordingTransport()
    enqueue_jobs(outbox, 50)
    dispatcher = make(transport_queue(transport), max_concurrent=4)
    unsaved: list[int] = []
    keep = transport.send

    class Counting(RecordingTransport):
        def send(self, message: Message) -> Receipt:
            unsaved.append(len(dispatcher._outcomes._unsaved))
            return keep(message)

    dispatcher.add(transport_queue(Counting()))
    dispatcher.drain()

    assert len(transport.accepted) == 50
    assert max(unsaved) <= 8


def test_hanging_attempt_causes_no_outbox_reads(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    transport = RecordingTransport()
    transport.gate.clear()
    enqueue_jobs(outbox, 5)
    slow = transport_queue(transport)
    slow.health.is_degraded = True  # one permit
    dispatcher = make(slow)
    dispatcher.start()
    try:
        wait_until(lambda: transport.attempted)
        wait_until(lambda: dispatcher._timeout > 1.0)
    finally:
        transport.gate.set()
    wait_until(lambda: len(transport.accepted) == 5)


def test_unreachable_transport_pauses_alone(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    broken, healthy = RecordingTransport(), RecordingTransport()
    broken.failures = [DeliveryError(Failure.UNREACHABLE, "refused")] * 99
    enqueue_jobs(outbox, 10, transport="broken")
    enqueue_jobs(outbox, 10, transport="healthy")
    queues = transport_queue(broken, "broken"), transport_queue(healthy, "healthy")
    queues[0].health.is_degraded = True  # it gave no answer before: one permit at a time
    make(*queues).drain()

    assert len(healthy.accepted) == 10
    assert broken.most_in_flight == 1
    assert outbox.history.counts().waiting == 10


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.UNKNOWN])
def test_degraded_transport_has_one_permit_until_a_success(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, failure: Failure
) -> None:
    """G03: rejections do not restore its permits, a success does."""
    transport = RecordingTransport()
    transport.failures = [DeliveryError(failure, "silent")]
    enqueue_jobs(outbox, 1)
    box = transport_queue(transport)
    dispatcher = make(box, max_concurrent=4)
    dispatcher.drain()
    assert box.health.is_degraded
    clock.advance(4000)
    rejections = [DeliveryError(Failure.TEMPORARY, "503")] * 100  # more than there are messages
    transport.failures = list(rejections)
    enqueue_jobs(outbox, 30, start=1)
    transport.gate.clear()
    dispatcher.start()
    wait_until(lambda: transport.in_flight == 1)
    transport.seconds = 0.02
    transport.gate.set()
    wait_until(lambda: len(transport.failures) <= len(rejections) - 2)
    assert transport.most_in_flight == 1, "two were answered, none was accepted"
    transport.failures.clear()
    clock.advance(4000)
    dispatcher.wake()
    wait_until(lambda: len(transport.accepted) >= 2)
    transport.gate.clear()

    wait_until(lambda: transport.in_flight == 4, what="all four permits after a success")
    assert not box.health.is_degraded
    transport.gate.set()


def test_rate_and_burst_limit_the_messages(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    transport = RecordingTransport()
    enqueue_jobs(outbox, 10)
    slow = transport_queue(transport, rate=1.0, burst=5)
    dispatcher = make(slow)
    dispatcher.start()
    wait_until(lambda: len(transport.accepted) == 5)
    dispatcher.wake()
    assert slow.wait(clock.monotonic()) == pytest.approx(1.0)
    clock.advance(2)
    dispatcher.wake()

    wait_until(lambda: outbox.history.counts() == tally(waiting=3, sent=7))
    assert len(transport.accepted) == 7


def test_permits_are_shared_and_never_exceeded(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G02"""
    one, two = RecordingTransport(), RecordingTransport()
    one.gate.clear()
    two.gate.clear()
    enqueue_jobs(outbox, 10, transport="one")
    enqueue_jobs(outbox, 10, transport="two")
    make(transport_queue(one, "one"), transport_queue(two, "two"), max_concurrent=4).start()
    wait_until(lambda: one.in_flight + two.in_flight == 4)
    one.gate.set()
    two.gate.set()

    wait_until(lambda: len(one.accepted) + len(two.accepted) == 20)
    assert max(one.most_in_flight, two.most_in_flight) <= 4


def test_hanging_transport_delays_no_other(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G03"""
    hanging, healthy = RecordingTransport(), RecordingTransport()
    hanging.gate.clear()
    enqueue_jobs(outbox, 1, transport="healthy")
    enqueue_jobs(outbox, 30, transport="hanging")
    dispatcher = make(transport_queue(healthy, "healthy"), transport_queue(hanging, "hanging"), max_concurrent=4)
    dispatcher.start()
    wait_until(lambda: hanging.in_flight == 2 and len(healthy.accepted) == 1)
    enqueue_jobs(outbox, 30, transport="healthy", start=100)
    dispatcher.wake()
    try:
        wait_until(lambda: len(healthy.accepted) == 31)
    finally:
        hanging.gate.set()


@pytest.mark.thorough
def test_black_hole_holds_half_of_the_permits(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G03: a real server that accepts every connection and never answers, beside a healthy one."""
    with serve_raw(never_respond) as black_hole, serve_mail() as server:
        enqueue_jobs(outbox, 100, transport="black_hole")
        enqueue_jobs(outbox, 100, transport="healthy", to="w@x.org")
        queues = transport_queue(smtp(black_hole.port), "black_hole"), transport_queue(smtp(server.port), "healthy")
        make(*queues, max_concurrent=8).start()
        wait_until(lambda: black_hole.open_count == 4, what="the black hole has its share of the permits")
        wait_until(lambda: len(server.committed) == 100, seconds=400)

        assert black_hole.max_open <= 4
        assert len(set(ids(server.committed))) == 100
        assert {mail.to for mail in server.committed} == {"w@x.org"}
        assert outbox.history.counts().dead == 0


def test_two_hanging_transports_leave_a_permit_for_a_third(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G03: a transport with nothing in flight always finds a permit."""
    hanging, healthy = [RecordingTransport(), RecordingTransport()], RecordingTransport()
    for transport in hanging:
        transport.gate.clear()
    names = ("one", "two")
    for name in names:
        enqueue_jobs(outbox, 20, transport=name, to=f"{name}@x.org")
    queues = [transport_queue(transport, name) for transport, name in zip(hanging, names, strict=True)]
    dispatcher = make(*queues, transport_queue(healthy, "healthy"), max_concurrent=4)
    dispatcher.start()
    try:
        wait_until(lambda: hanging[0].in_flight + hanging[1].in_flight == 3, what="all but one permit hangs")
        enqueue_jobs(outbox, 20, transport="healthy", to="w@x.org")
        dispatcher.wake()
        wait_until(lambda: len(healthy.accepted) == 20)
    finally:
        for transport in hanging:
            transport.gate.set()


def test_stop_finishes_attempts_in_flight_and_starts_none(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    transport = RecordingTransport()
    transport.gate.clear()
    enqueue_jobs(outbox, 10)
    dispatcher = make(transport_queue(transport), max_concurrent=2)
    dispatcher.start()
    wait_until(lambda: transport.in_flight == 2)
    stopping = threading.Thread(target=dispatcher.stop)
    stopping.start()
    transport.gate.set()
    stopping.join()

    assert len(transport.accepted) == 2
    assert outbox.history.counts() == tally(waiting=8, sent=2)
