"""Failures that concern the transport and not the message: pauses, unreachable servers, exhausted resources."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.core.outbox import ClaimedNotification
from syftnotify.delivery.transport_health import UNREACHABLE_SECONDS
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import Clock, MakeDispatcher, claim_and_crash, tally, wait_until

READER = "owner@datasite.example"
RENDERER = EmailRenderer(TemplateRenderer(), sender=READER, links=Links())


class Server:
    """A transport whose server responds to each message as `answer` decides; None accepts it."""

    def __init__(self, answer: Callable[[Message], DeliveryError | None] = lambda _message: None) -> None:
        self.answer = answer
        self.tried: list[str] = []
        self.accepted: list[str] = []
        self.reachable = True
        self._lock = threading.Lock()

    def check(self) -> None:
        if not self.reachable:
            raise DeliveryError(Failure.UNREACHABLE, "mail.example could not be reached")

    def send(self, message: Message) -> Receipt:
        with self._lock:
            self.tried.append(message.id)
            error = self.answer(message)
            if error is not None:
                raise error
            self.accepted.append(message.id)
        return Receipt()

    def close(self) -> None:
        """Nothing is kept."""


def transport_queue(server: Server, name: str = "mail", **more: Any) -> TransportQueue:
    return TransportQueue(name, server, RENDERER, QueueOptions(**more))


def enqueue(
    outbox: SqliteOutbox, count: int, *, start: int = 0, to: str = READER, source: str = "", transport: str = "mail"
) -> None:
    events = [
        Event(
            EventKind.JOB_SUBMITTED, f"job/{source}/{number}", "T", "", {"name": f"job {number}", "submitter": source}
        )
        for number in range(start, start + count)
    ]
    items = [Notification(e.key, e.entity, to, Audience.OWNER, transport, source=source) for e in events]
    outbox.enqueue(events, items, 0.0)


def rejects(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.PERMANENT, "hooks.example answered 404 no_service")


def defers(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.TEMPORARY, "mail.example answered 451")


def loses_the_answer(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.UNKNOWN, "mail.example answered 504")


def is_gone(_message: Message) -> DeliveryError:
    return DeliveryError(Failure.GONE, "hooks.example answered 410")


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


def test_messages_are_sent_when_no_thread_can_be_started(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """A10: one at a time in the dispatcher's own thread, each once."""
    server = Server()
    enqueue(outbox, 5)
    dispatcher = make(transport_queue(server))
    dispatcher._pool._executor = _NoThreads()  # type: ignore[assignment] # as in a system without free threads
    dispatcher.drain()

    assert outbox.history.counts() == tally(sent=5)
    assert Counter(server.tried).most_common(1)[0][1] == 1


class _NoThreads:
    """A pool that queues what it is given and cannot start a thread, as `ThreadPoolExecutor` fails."""

    def __init__(self) -> None:
        self.queued: list[Callable[[], None]] = []

    def submit(self, act: Callable[[], None]) -> None:
        self.queued.append(act)
        raise RuntimeError("can't start new thread")

    def shutdown(self, **_options: bool) -> None:
        for act in self.queued:
            act()  # a thread that came later takes what is queued


def test_dispatcher_recovers_its_claims_after_an_unexpected_error(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A10: what a dead process left claimed is unknown, counted and sent again."""
    server = Server()
    enqueue(outbox, 3)
    (lost,) = claim_and_crash(tmp_path / "outbox.db", "mail", clock.now)
    mail = transport_queue(server)
    calls = iter([MemoryError()])

    def wait(monotonic: float) -> float:
        error = next(calls, None)
        if error is not None:
            raise error
        return TransportQueue.wait(mail, monotonic)

    class Failing(TransportQueue):
        def wait(self, monotonic: float) -> float:
            return wait(monotonic)

    failing = Failing("mail", server, RENDERER)
    mail = failing
    dispatcher = make(failing)
    dispatcher.start()
    dispatcher.wake()

    def all_sent() -> bool:
        dispatcher.wake()
        return outbox.history.counts().sent == 3

    wait_until(all_sent)
    assert lost.id in server.accepted
    assert outbox.history.counts().unknown == 1
    assert "unexpected error in the dispatcher" in caplog.text
    assert dispatcher.is_alive


def test_clock_set_back_leaves_no_message_waiting(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    """A11: three days ahead during a temporary failure, then right again."""
    server = Server(defers)
    enqueue(outbox, 1)
    dispatcher = make(transport_queue(server))
    dispatcher.drain()
    clock.now += 3 * 86400
    dispatcher.drain()
    clock.now -= 3 * 86400
    server.answer = lambda _message: None
    dispatcher.drain()
    clock.advance(3600)
    dispatcher.drain()

    assert outbox.history.counts().sent == 1


def test_one_submitter_uses_at_most_a_fifth_of_the_daily_limit(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """C3: of 600 jobs of one scientist in a day, nothing is lost, and the jobs of others are sent at once."""
    server = Server()
    dispatcher = make(transport_queue(server, daily_limit=500))
    for hour in range(8):
        for to in (READER, "flood@lab.example"):
            enqueue(outbox, 75, start=75 * hour, to=to, source="flood@lab.example")
        enqueue(outbox, 1, start=hour, source="ana@uni.example")
        before = set(server.accepted)
        for _ in range(6):
            dispatcher.drain()
            clock.advance(1800)
        assert len(set(server.accepted) - before) > 0
    sent = outbox.history.sent_since(clock.now - 86401)
    by_source = Counter(message.source for message in sent)

    assert by_source["flood@lab.example"] <= 100
    assert by_source["ana@uni.example"] == 8
    clock.advance(86400)
    dispatcher.drain()
    assert outbox.history.counts().waiting == 0
    assert outbox.history.counts().notifications == 2 * 600 + 8


def test_daily_share_survives_a_restart(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    """C3"""
    server = Server()
    for start in (0, 100):
        enqueue(outbox, 100, start=start, source="flood@lab.example")
        make(transport_queue(server, daily_limit=500)).drain()

    assert len(server.accepted) <= 100


def test_without_a_daily_limit_no_share_applies(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """C3: `daily_limit: none`."""
    server = Server()
    enqueue(outbox, 150, source="flood@lab.example")
    make(transport_queue(server, daily_limit=None)).drain()

    assert len(server.accepted) == 150


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


def test_outcome_not_recorded_for_lack_of_memory_is_unknown(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """A10: the message is sent again under its id, and counted; nothing stays claimed until the next start."""
    server = Server()
    dispatcher = make(transport_queue(server))
    outcomes = dispatcher._outcomes
    record, failures = outcomes.record, [MemoryError()]

    def fails_once(claimed: Sequence[ClaimedNotification], write: Callable[[], None]) -> None:
        if failures:
            raise failures.pop()
        record(claimed, write)

    outcomes.record = fails_once  # type: ignore[method-assign]  # the place at which memory may run out
    enqueue(outbox, 1)
    dispatcher.drain()
    dispatcher.drain()

    assert len(set(server.tried)) == 1
    assert outbox.history.counts() == tally(sent=1, unknown=1)
