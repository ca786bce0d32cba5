"""Failures that concern the transport and not the message: pauses and unreachable servers."""

from __future__ import annotations

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.delivery.transport_health import UNREACHABLE_SECONDS
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.failing_server import (
    Server,
    defers,
    enqueue,
    is_gone,
    loses_the_answer,
    rejects,
    transport_queue,
)
from tests.support import Clock, MakeDispatcher, tally, wait_until


@pytest.mark.parametrize("permits", [1, 16])
def test_three_rejections_in_a_row_pause_the_transport(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, permits: int
) -> None:
    """A4: three messages are dead letters, however many are in flight; every later one is kept."""
    server = Server(rejects)
    mail = transport_queue(server)
    enqueue(outbox, 20)
    dispatcher = make(mail, max_concurrent=permits)
    dispatcher.drain()

    assert outbox.history.counts().dead == 3
    assert outbox.history.counts().waiting == 17
    assert mail.health.unavailable_reason(clock.monotonic_now).startswith(
        "the last messages were all rejected: hooks.example answered 404"
    )


def test_paused_transport_is_probed_with_other_messages_and_resumes(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """A4: a probe that is rejected costs no message; the first accepted one ends the pause."""
    server = Server(rejects)
    mail = transport_queue(server)
    enqueue(outbox, 10)
    dispatcher = make(mail, max_concurrent=1)
    dispatcher.drain()
    probed = []
    for _ in range(3):
        clock.advance(301)
        before = len(server.tried)
        dispatcher.drain()
        probed += server.tried[before:]
    assert len(set(probed)) == len(probed) == 3
    assert outbox.history.counts().dead == 3
    server.answer = lambda _message: None
    clock.advance(301)
    dispatcher.drain()
    assert mail.health.unavailable_reason(clock.monotonic_now) == ""
    clock.advance(3600)
    dispatcher.drain()

    assert outbox.history.counts() == tally(sent=7, dead=3)


def test_rejections_between_accepted_messages_pause_nothing(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """A4: only rejections of different messages in a row count."""
    rejected = iter([True, True, False] * 4)
    server = Server(lambda message: rejects(message) if next(rejected) else None)
    mail = transport_queue(server)
    enqueue(outbox, 12)
    make(mail, max_concurrent=1).drain()

    assert mail.health.unavailable_reason(clock.monotonic_now) == ""
    assert outbox.history.counts() == tally(sent=4, dead=8)


def test_addresses_rejected_locally_pause_nothing(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    """A4: no server was involved."""
    server = Server(lambda _message: DeliveryError(Failure.PERMANENT, "not an address", is_local=True))
    mail = transport_queue(server)
    enqueue(outbox, 5)
    make(mail, max_concurrent=1).drain()

    assert mail.health.unavailable_reason(clock.monotonic_now) == ""
    assert outbox.history.counts() == tally(dead=5)


@pytest.mark.parametrize(
    ("failure", "count"), [(Failure.UNREACHABLE, 1), (Failure.UNKNOWN, 1), (Failure.TEMPORARY, 3)], ids=str
)
def test_transport_without_success_for_two_minutes_is_unreachable(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, failure: Failure, count: int
) -> None:
    """B1, A4: one server that does not respond, or three different messages that were deferred."""
    server = Server(lambda _message: DeliveryError(failure, "mail.example failed"))
    mail = transport_queue(server)
    enqueue(outbox, count)
    dispatcher = make(mail, max_concurrent=1)
    dispatcher.drain()
    assert mail.health.unavailable_reason(clock.monotonic_now) == "", "one failure is no fault yet"
    clock.advance(UNREACHABLE_SECONDS)
    assert mail.health.unavailable_reason(clock.monotonic_now).startswith("unreachable since 2027-")
    server.answer = lambda _message: None
    clock.advance(7200)
    dispatcher.drain()

    assert mail.health.unavailable_reason(clock.monotonic_now) == ""
    assert outbox.history.counts().sent == count


def test_one_deferred_message_is_no_fault_of_the_transport(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """A4: greylisting of one message."""
    server = Server(defers)
    mail = transport_queue(server)
    enqueue(outbox, 1)
    dispatcher = make(mail)
    for _ in range(3):
        dispatcher.drain()
        clock.advance(3600)

    assert mail.health.unavailable_reason(clock.monotonic_now) == ""


def test_idle_transport_recovers_when_its_server_is_reachable(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """B1: it does not stay unhealthy until the next message, which may come in a week."""
    server = Server(lambda _message: DeliveryError(Failure.UNREACHABLE, "mail.example could not be reached"))
    mail = transport_queue(server, max_retries=0)
    server.reachable = False
    enqueue(outbox, 1)
    dispatcher = make(mail)
    dispatcher.start()

    def given_up() -> bool:
        clock.advance(60)
        dispatcher.wake()
        return outbox.history.counts().dead == 1

    wait_until(given_up)
    clock.advance(UNREACHABLE_SECONDS)
    assert mail.health.unavailable_reason(clock.monotonic_now)
    server.reachable = True

    def recovered() -> bool:
        clock.advance(3600)
        dispatcher.wake()
        return not mail.health.unavailable_reason(clock.monotonic_now)

    wait_until(recovered)


@pytest.mark.parametrize(("recipients", "is_paused"), [(1, False), (3, True)])
def test_rejected_recipient_counts_once_however_many_messages_it_has(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, recipients: int, is_paused: bool
) -> None:
    """A3: three different recipients are a sign that the transport is at fault, three messages to one are not."""
    server = Server(lambda _: DeliveryError(Failure.PERMANENT, "550 5.1.1 no such user", is_about_recipient=True))
    mail = transport_queue(server)
    for number in range(6):
        enqueue(outbox, 1, start=number, to=f"nobody{number % recipients}@lab.example")
    make(mail, max_concurrent=1).drain()

    assert bool(mail.health.unavailable_reason(clock.monotonic_now)) is is_paused


def test_gone_endpoint_costs_one_message_however_many_are_in_flight(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """A4: it concerns the endpoint, not the message."""
    hook = transport_queue(Server(is_gone))
    enqueue(outbox, 40)
    make(hook).drain()

    assert (outbox.history.counts().dead, outbox.history.counts().waiting) == (1, 39)
    assert "answered 410" in hook.health.unavailable_reason(clock.monotonic_now)


def test_transport_that_loses_every_answer_stays_unreachable(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """B1: a connection check between two attempts proves nothing about the messages."""
    mail = transport_queue(Server(loses_the_answer))
    enqueue(outbox, 1)
    dispatcher = make(mail)
    dispatcher.drain()
    found = []
    for _ in range(20):
        clock.advance(60)
        dispatcher._run_pass()
        wait_until(lambda: not mail.in_flight, what="the attempt has ended")
        found.append(bool(mail.health.unavailable_reason(clock.monotonic_now)))

    assert found[2:] == [True] * 18


def test_transport_with_an_empty_queue_recovers_after_a_connection(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """B1: with an empty queue nothing else could ever show it."""
    server = Server(defers)
    mail = transport_queue(server, max_retries=0)
    enqueue(outbox, 3)
    dispatcher = make(mail, max_concurrent=1)
    dispatcher.drain()
    assert outbox.history.counts().waiting == 0
    clock.advance(UNREACHABLE_SECONDS + 1)
    assert mail.health.unavailable_reason(clock.monotonic_now)
    clock.advance(3600)
    dispatcher._run_pass()
    wait_until(lambda: not mail.health.unavailable_reason(clock.monotonic_now), what="the check has succeeded")


def test_paused_transport_with_an_empty_queue_needs_no_wake_ups(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """A4: the dispatcher waits as long as for a quiet transport."""
    mail = transport_queue(Server(rejects))
    enqueue(outbox, 3)
    dispatcher = make(mail, max_concurrent=1)
    dispatcher.drain()
    clock.advance(3600)

    assert mail.health.unavailable_reason(clock.monotonic_now)
    assert dispatcher._run_pass() >= 60
