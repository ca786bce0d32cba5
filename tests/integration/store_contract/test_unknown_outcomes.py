"""Store contract: attempts whose message may have been delivered."""

from __future__ import annotations

import pytest

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event, NotificationState
from syftnotify.core.outbox import AttemptOutcome, OutboxStore
from tests.outbox_helpers import DEAD, claim_next, enqueue, enqueue_unknown, reject, submitted
from tests.support import tally


def test_unknown_outcome_is_repeated_under_the_same_id(outbox: OutboxStore) -> None:
    """X03"""
    notification_id = enqueue_unknown(outbox, submitted())

    assert outbox.dead_letters.states(notification_id) == {notification_id: "unknown"}
    assert outbox.events.with_unfinished([submitted().key]) == {submitted().key}
    assert claim_next(outbox, 129.0) == []
    assert outbox.queue.next_due("box", 100.0) == 130.0
    (repeated,) = claim_next(outbox, 130.0)
    assert (repeated.id, repeated.is_repeated) == (notification_id, True)
    assert (repeated.failures, repeated.temporary_failures) == (1, 0)


def test_unknown_outcome_that_is_held_waits_until_requeued(outbox: OutboxStore) -> None:
    """X03"""
    notification_id = enqueue_unknown(outbox, submitted())

    assert claim_next(outbox, 1e12, resend=False) == []
    assert outbox.queue.next_due("box", 100.0, resend=False) is None
    assert outbox.history.counts(holding=["box"]) == tally(unknown=1, held=1)
    assert outbox.history.metrics(holding=["box"]).queues == ()
    assert [queue.waiting for queue in outbox.history.metrics(holding=["other"]).queues] == [1]
    assert outbox.history.counts(holding=["other"]) == outbox.history.counts() == tally(waiting=1, failed=1, unknown=1)
    assert outbox.dead_letters.requeue([notification_id]) == 1
    (repeated,) = claim_next(outbox, resend=False)
    assert repeated.id == notification_id, "the same id gives the same Message-ID"
    outbox.queue.mark_sent([repeated], 101.0)
    assert outbox.history.counts(holding=["box"]) == tally(sent=1, unknown=1), "the unknown attempt stays counted"


@pytest.mark.parametrize(("resend", "kinds"), [(True, []), (False, [EventKind.JOB_APPROVED])])
def test_claim_overtakes_unknown_outcomes_only_if_they_are_held(
    outbox: OutboxStore, resend: bool, kinds: list[EventKind]
) -> None:
    """X03: what is sent again automatically keeps its place; what waits for a user blocks nothing."""
    enqueue_unknown(outbox, submitted())
    enqueue(outbox, Event(EventKind.JOB_APPROVED, "job/a", "T2"))

    assert [item.event.kind for item in claim_next(outbox, 110.0, resend=resend)] == kinds


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(AttemptOutcome(NotificationState.PENDING, not_before=200.0), "unknown"), (DEAD, "dead")],
    ids=["retry", "dead"],
)
def test_unknown_outcome_stays_unknown_after_a_later_failure(
    outbox: OutboxStore, outcome: AttemptOutcome, state: str
) -> None:
    """X03: the earlier attempt may have been delivered; a later refusal does not change that."""
    notification_id = enqueue_unknown(outbox, submitted())
    outbox.queue.mark_failed(claim_next(outbox, 130.0), 130.0, Failure.TEMPORARY, "503", outcome)

    assert outbox.dead_letters.states(notification_id) == {notification_id: state}


def test_digest_of_unknown_outcome_is_repeated_with_the_same_items(outbox: OutboxStore) -> None:
    """X03: an item of its bundle that was blocked at first leaves in another message."""
    blocked, others = submitted("a", "T2"), [submitted(name) for name in "bc"]
    enqueue(outbox, submitted("a", "T1"))
    (first,) = claim_next(outbox)
    enqueue(outbox, blocked, *others, bundle="b")
    digest = claim_next(outbox)
    assert [item.event for item in digest] == others
    outbox.queue.mark_failed(digest, 101.0, Failure.UNKNOWN, "cut", AttemptOutcome(NotificationState.UNKNOWN))
    outbox.queue.mark_sent([first], 102.0)

    messages = [claim_next(outbox, 200.0) for _ in range(2)]
    assert sorted([item.event.key for item in message] for message in messages) == sorted(
        [[event.key for event in others], [blocked.key]]
    )
    ids = {item.message_id for message in messages for item in message}
    assert len(ids) == 2
    assert digest[0].message_id in ids


def test_item_of_a_dead_digest_is_requeued_as_a_new_message(outbox: OutboxStore) -> None:
    """X04: two items that are sent again one after the other are two messages."""
    enqueue(outbox, *(submitted(name) for name in "abc"), bundle="b")
    digest = claim_next(outbox)
    reject(outbox, digest)
    ids = {digest[0].message_id}
    for item in digest:
        assert outbox.dead_letters.requeue([item.id]) == 1
        (requeued,) = claim_next(outbox, 200.0)
        assert requeued.id == item.id
        ids.add(requeued.message_id)
        outbox.queue.mark_sent([requeued], 201.0)

    assert len(ids) == 4
