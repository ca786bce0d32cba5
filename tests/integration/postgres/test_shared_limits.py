"""X12: rate limits, pauses and throttles of a transport hold over all workers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from syftnotify.core.cluster import TransportPause
from syftnotify.core.errors import Failure
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from tests.fakes.recording_transport import RecordingTransport
from tests.integration.postgres.conftest import OpenWorker
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import Box, tally

RATE = 0.001  # a message in 1,000 s: none is added while the test runs


def test_workers_share_one_rate_limit(open_worker: OpenWorker) -> None:
    workers = [open_worker() for _ in range(3)]
    granted: list[int] = []

    def take(outbox: PostgresOutbox) -> None:
        for _ in range(5):
            count, _ = outbox.cluster.transports.take_permits("box", RATE, 10, 2)
            granted.append(count)

    threads = [threading.Thread(target=take, args=(outbox,)) for outbox in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(granted) == 10
    transports = workers[0].cluster.transports
    count, wait = transports.take_permits("box", RATE, 10, 1)
    assert count == 0
    assert 900 < wait <= 1000
    transports.return_permits("box", RATE, 3)
    assert transports.take_permits("box", RATE, 10, 9)[0] == 3


def test_start_of_a_worker_tries_an_endpoint_that_was_gone(
    tmp_path: Path, database_url: str, open_worker: OpenWorker
) -> None:
    """As with one worker: its user has corrected the address."""
    transports = open_worker().cluster.transports
    for name, failure in (("box", Failure.GONE), ("other", Failure.GONE), ("mail", Failure.AUTH)):
        transports.pause(name, TransportPause(1e12, "410 Gone", failure))
    box = Box(tmp_path)
    box.configure({"database": database_url, "transports": {name: {"type": "maildir"} for name in ("box", "mail")}})

    box.open_app().close()
    assert sorted(transports.pauses()) == ["mail", "other"]


def test_pause_of_one_worker_holds_for_all(open_worker: OpenWorker) -> None:
    first, second = open_worker(), open_worker()
    enqueue(first, submitted(), submitted("b"))
    first.cluster.transports.pause("box", TransportPause(500.0, "the sign-in has ended", Failure.AUTH))

    assert claim_next(second, 499.0) == []
    assert second.cluster.transports.pauses() == {"box": TransportPause(500.0, "the sign-in has ended", Failure.AUTH)}
    (probe,) = second.queue.claim("box", 501.0, worker_id="me", limit=9)  # one message, by one worker
    assert claim_next(first, 502.0) == []
    second.queue.mark_sent(probe, 502.0)
    second.cluster.transports.end_pause("box")
    assert len(claim_next(first, 503.0)) == 1
    assert first.cluster.transports.pauses() == {}


@pytest.mark.parametrize("is_delivered", [True, False])
def test_flood_control_counts_what_all_workers_send(open_worker: OpenWorker, *, is_delivered: bool) -> None:
    """X12, G06: above the threshold the rest becomes one digest; messages that were not delivered do not count."""
    workers = [open_worker() for _ in range(2)]
    enqueue(workers[0], *(submitted(str(number)) for number in range(12)))
    rules = [ThrottleRule(threshold=5, window=600.0, interval=600.0)]
    queue = TransportQueue("box", RecordingTransport(), None, QueueOptions())  # type: ignore[arg-type] # renders nothing
    sizes: list[int] = []
    for turn in range(8):
        outbox = workers[turn % 2]
        throttle = Throttling(outbox.history, rules, is_shared=True).for_claim(queue, 100.0)
        for message in outbox.queue.claim("box", 100.0, worker_id="me", limit=2, throttle=throttle):
            sizes.append(len(message))
            if is_delivered:
                outbox.queue.mark_sent(message, 100.0)

    assert sizes == [1, 1, 1, 1, 1, 7]
    if is_delivered:
        assert workers[0].history.counts() == tally(sent=6, notifications=12)
