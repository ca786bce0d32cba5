"""Store contract: a database that lost its last changes, and notifications that may have been sent before."""

from __future__ import annotations

from syftnotify.core.outbox import OutboxStore
from tests.outbox_helpers import claim_next, enqueue, notification, submitted
from tests.support import tally


def test_progress_grows_with_events_messages_and_unknown_attempts(outbox: OutboxStore) -> None:
    """A8"""
    before = outbox.events.progress()
    enqueue(outbox, submitted())
    outbox.queue.mark_sent(claim_next(outbox), 101.0)
    after = outbox.events.progress()

    assert all(now >= then for now, then in zip(after, before, strict=True))
    assert after > before
    assert not outbox.events.has_regressed(before)
    assert not outbox.events.has_regressed(after)
    assert outbox.events.has_regressed([*after[:-1], after[-1] + 1])


def test_mark_uncertain_makes_pending_notifications_unknown(outbox: OutboxStore) -> None:
    """A8: those of events that are recorded as finished elsewhere count as sent."""
    finished, pending = submitted("finished"), submitted("pending")
    enqueue(outbox, finished, pending)

    assert outbox.events.mark_uncertain(200.0, finished=[finished.key]) == 1
    states = {record.entity: record.state for record in outbox.history.notifications()}
    assert states == {finished.entity: "sent", pending.entity: "unknown"}
    assert outbox.history.counts().unknown == 1
    assert [item.event for item in claim_next(outbox, 200.0)] == [pending]


def test_enqueue_of_uncertain_events_counts_them_as_unknown(outbox: OutboxStore) -> None:
    """A8"""
    certain, uncertain = submitted("certain"), submitted("uncertain")
    items = [notification(certain), notification(uncertain)]
    outbox.enqueue([certain, uncertain], items, 100.0, uncertain=[uncertain.key])

    assert outbox.history.counts() == tally(waiting=2, unknown=1)
    assert {item.event.key: item.is_repeated for item in claim_next(outbox) + claim_next(outbox)} == {
        certain.key: False,
        uncertain.key: True,
    }
