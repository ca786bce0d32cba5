"""Dispatcher without threads or memory, after an unexpected error, and with a clock that is set back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from syftnotify.core.outbox import ClaimedNotification
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.failing_server import RENDERER, Server, defers, enqueue, transport_queue
from tests.support import Clock, MakeDispatcher, claim_and_crash, tally, wait_until


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
