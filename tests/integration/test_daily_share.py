"""The share of the daily limit that one submitter may use."""

from __future__ import annotations

from collections import Counter

import pytest

from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.failing_server import READER, Server, enqueue, transport_queue
from tests.support import Clock, MakeDispatcher


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_without_a_daily_limit_no_share_applies(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """C3: `daily_limit: none`."""
    server = Server()
    enqueue(outbox, 150, source="flood@lab.example")
    make(transport_queue(server, daily_limit=None)).drain()

    assert len(server.accepted) == 150
