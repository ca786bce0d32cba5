"""Store contract: notifications that are not retried any more, and what a user does with them."""

from __future__ import annotations

from syftnotify.core.outbox import OutboxStore
from tests.outbox_helpers import (
    claim_next,
    enqueue,
    enqueue_dead,
    enqueue_unknown,
    notification,
    reject,
    submitted,
)
from tests.support import tally


def test_dead_letters_are_listed_oldest_first_with_their_reason(outbox: OutboxStore) -> None:
    """X04: together with unknown outcomes, without anything else."""
    dead = enqueue_dead(outbox, submitted("a"), attempts=3)
    unknown = enqueue_unknown(outbox, submitted("b"))
    enqueue(outbox, submitted("e"))
    outbox.queue.mark_sent(claim_next(outbox), 100.0)
    enqueue(outbox, submitted("c"))
    enqueue(outbox, submitted("d"), skipped="not allowed")

    records = outbox.dead_letters.all()
    assert [(record.id, record.state, record.attempts) for record in records] == [
        (dead, "dead", 3),
        (unknown, "unknown", 1),
    ]
    first = records[0]
    assert (first.kind, first.entity, first.recipient) == ("job_submitted", "job/a", "o@x.org")
    assert (first.transport, first.reason, first.created_at) == ("box", "550 no such user", 100.0)


def test_states_finds_notifications_by_the_beginning_of_their_id(outbox: OutboxStore) -> None:
    """X04: a pattern of the database is not one here."""
    states = {enqueue_dead(outbox, submitted(name)): "dead" for name in "abc"}
    one = next(iter(states))

    assert outbox.dead_letters.states(one) == {one: "dead"}
    assert outbox.dead_letters.states(one[:12]) == {one: "dead"}
    assert outbox.dead_letters.states("") == states
    for prefix in ("%", "_" * 32, f"%{one[1:]}", f"{one}x", "no such"):
        assert outbox.dead_letters.states(prefix) == {}


def test_requeue_of_a_dead_letter_starts_with_the_first_attempt(outbox: OutboxStore) -> None:
    """X04"""
    notification_id = enqueue_dead(outbox, submitted(), attempts=3)

    assert outbox.dead_letters.requeue([notification_id]) == 1
    (claimed,) = claim_next(outbox)
    assert (claimed.id, claimed.failures, claimed.temporary_failures) == (notification_id, 0, 0)
    assert claimed.first_failed_at is None
    assert outbox.dead_letters.all() == []


def test_requeue_changes_nothing_but_dead_letters(outbox: OutboxStore) -> None:
    """X04: per recipient: what was sent, waits, is under way or was skipped stays as it is."""
    event = submitted()
    recipients = ("sent@x.org", "dead@x.org", "sending@x.org", "waiting@x.org")
    skipped = notification(event, "skipped@x.org", skipped="not allowed")
    outbox.enqueue([event], [*(notification(event, each) for each in recipients), skipped], 100.0)
    sent, dead, _ = (claim_next(outbox) for _ in range(3))
    outbox.queue.mark_sent(sent, 101.0)
    reject(outbox, dead)
    before = outbox.dead_letters.states("")
    assert sorted(before.values()) == ["dead", "pending", "sending", "sent", "skipped"]

    assert outbox.dead_letters.requeue(before) == 1
    assert outbox.dead_letters.states("") == {**before, dead[0].id: "pending"}
    assert outbox.dead_letters.requeue(before) == 0, "twice is the same as once"


def test_requeue_of_no_or_an_unknown_id_changes_nothing(outbox: OutboxStore) -> None:
    enqueue_dead(outbox, submitted())

    assert outbox.dead_letters.requeue([]) == 0
    assert outbox.dead_letters.requeue(["no such id"]) == 0
    assert outbox.history.counts() == tally(dead=1)


def test_requeue_takes_more_ids_than_one_statement_holds(outbox: OutboxStore) -> None:
    """SQLite takes 999 values in one statement."""
    enqueue(outbox, *(submitted(str(number)) for number in range(1100)), bundle="b")
    reject(outbox, claim_next(outbox))

    assert outbox.dead_letters.requeue(record.id for record in outbox.dead_letters.all()) == 1100
    assert outbox.history.counts() == tally(waiting=1100)


def test_acknowledge_and_requeue_lower_the_count_of_new_dead_letters(outbox: OutboxStore) -> None:
    """A4"""
    for name in "abc":
        enqueue_dead(outbox, submitted(name))
    first, second, third = outbox.dead_letters.unreported()
    outbox.dead_letters.mark_reported([first.id], 100.0)

    assert [record.id for record in outbox.dead_letters.unreported()] == [second.id, third.id]
    assert outbox.dead_letters.acknowledge(100.0, [second.id]) == 1
    assert outbox.dead_letters.requeue([third.id]) == 1
    assert outbox.history.counts() == tally(waiting=1, dead=2, unacknowledged=1)
    assert outbox.dead_letters.acknowledge(100.0) == 1
    assert outbox.history.counts().unacknowledged == 0
