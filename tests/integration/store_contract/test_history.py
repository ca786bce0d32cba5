"""Store contract: events, filters of the history, pruning, and totals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.outbox import OutboxStore
from tests.outbox_helpers import claim_next, enqueue, enqueue_dead, notification, send_all, submitted
from tests.support import tally


def test_events_of_emit_and_of_the_tree_are_kept_apart(outbox: OutboxStore) -> None:
    """A12: also for entities of the same name."""
    observed = submitted()
    emitted = [replace(observed, emitted=True), Event(EventKind.JOB_FAILED, "job/a", "T1", emitted=True)]
    items = [notification(observed, "o@x.org"), notification(emitted[0], "e@x.org")]
    outbox.enqueue([observed, *emitted], items, 1.0)
    claimed = [item for (item,) in outbox.queue.claim("box", 100.0, worker_id="me", limit=9)]
    keys = [event.key for event in (observed, *emitted)]

    assert len(set(keys)) == 3
    assert {item.recipient: (item.event, item.last_kind) for item in claimed} == {
        "o@x.org": (observed, EventKind.JOB_SUBMITTED),
        "e@x.org": (emitted[0], EventKind.JOB_FAILED),
    }
    assert [row.key for row in outbox.events.for_entities(["job/a"])] == keys[:1]
    assert [row.key for row in outbox.events.all()] == keys[:1]
    assert [row.key for row in outbox.events.find(keys)] == keys[:1]
    assert [row.key for row in outbox.events.unfinished()] == keys[:1]
    assert outbox.events.unfinished_emitted() == {keys[1]}
    assert outbox.events.known([*keys, "other"]) == set(keys)
    assert outbox.events.last_emitted("job/a") is EventKind.JOB_FAILED
    assert outbox.events.last_emitted("job/b") is None


def test_events_for_entities_are_returned_oldest_first(outbox: OutboxStore) -> None:
    events = [Event(EventKind.JOB_UPDATED, "job/a", f"T{number}") for number in (3, 1, 2)]
    outbox.enqueue([*events, submitted("b")], [], 1.0)

    assert outbox.events.for_entities(["job/a"]) == [
        (event.key, event.entity, event.kind.value, event.occurrence) for event in events
    ]


@pytest.mark.parametrize(
    ("filters", "entities"),
    [
        ({}, ["job/c", "job/b", "job/a"]),
        ({"limit": 1}, ["job/c"]),
        ({"states": ["dead"]}, ["job/a"]),
        ({"states": ["dead", "pending"]}, ["job/c", "job/b", "job/a"]),
        ({"kinds": ["job_failed"]}, ["job/c"]),
        ({"about": "job/b"}, ["job/b"]),
        ({"about": "job"}, []),
        ({"recipient": "O@X.ORG"}, ["job/c", "job/a"]),
        ({"transport": "hook"}, ["job/b"]),
        ({"since": 200.0}, ["job/c"]),
    ],
    ids=str,
)
def test_history_filters_notifications_newest_first(
    outbox: OutboxStore, filters: dict[str, Any], entities: list[str]
) -> None:
    """N27"""
    enqueue_dead(outbox, submitted("a"))
    enqueue(outbox, submitted("b"), to="b@x.org", transport="hook", now=150.0)
    enqueue(outbox, Event(EventKind.JOB_FAILED, "job/c", "T1"), now=200.0)

    assert [record.entity for record in outbox.history.notifications(**filters)] == entities


def test_counts_of_sent_messages_survive_pruning(outbox: OutboxStore) -> None:
    """B10: one catch-up mail of many items is one message."""
    enqueue(outbox, *(submitted(f"n{number}") for number in range(5)), bundle="catch-up")
    enqueue(outbox, submitted("single"))
    send_all(outbox, 2)
    before = outbox.history.counts()
    assert outbox.history.prune(1e9, 1e12, exempt=()) == 6

    assert before == tally(sent=2, notifications=6)
    assert outbox.history.counts() == before


def test_prune_keeps_dead_letters_until_they_are_acknowledged(outbox: OutboxStore) -> None:
    """A4: they keep the worker unhealthy until a user has seen them."""
    enqueue_dead(outbox, submitted())

    assert outbox.history.prune(1e9, 1e12, exempt=()) == 0
    outbox.dead_letters.acknowledge(100.0)
    assert outbox.history.prune(1e9, 1e12, exempt=()) == 1


def test_prune_keeps_unfinished_and_recent_events(outbox: OutboxStore) -> None:
    """Also an event whose notification is under way."""
    enqueue(outbox, submitted("under way"))
    claim_next(outbox)
    outbox.enqueue([submitted("old")], [], 100.0)
    outbox.enqueue([submitted("recent")], [], 200.0)

    assert outbox.history.prune(150.0, 1e9, exempt=(), dry_run=True) == 1
    assert outbox.history.prune(150.0, 1e9, exempt=()) == 1
    assert {row.entity for row in outbox.events.all()} == {"job/under way", "job/recent"}


def test_prune_with_a_limit_passes_over_exempt_entities(outbox: OutboxStore) -> None:
    exempt = [submitted(f"a{number}") for number in range(7)]
    outbox.enqueue([*exempt, *(submitted(f"b{number}") for number in range(5))], [], 1.0)
    entities = {event.entity for event in exempt}

    assert [outbox.history.prune(10.0, 1e9, exempt=entities, limit=3) for _ in range(3)] == [3, 2, 0]
    assert {row.entity for row in outbox.events.all()} == entities


@pytest.mark.parametrize(
    "filters", [{}, {"kinds": ["job_submitted"]}, {"kinds": ["job_submitted"], "transport": "box"}]
)
def test_pages_have_each_notification_once(outbox: OutboxStore, filters: dict[str, Any]) -> None:
    """Also those of old events that were notified after later events."""
    events = [submitted(str(number)) for number in range(5)]
    for event in events:
        enqueue(outbox, event)
    enqueue(outbox, Event(EventKind.JOB_FAILED, "job/0", "T2"), transport="other")
    for event in (events[0], events[3], events[1]):
        enqueue(outbox, event, to="late@x.org")
    found: list[str] = []
    while page := outbox.history.notifications(before=found[-1] if found else "", limit=2, **filters):
        found += [item.id for item in page]

    assert len(found) == len(set(found)) == (8 if filters else 9)
