"""Store contract: enqueueing, claiming, and the outcomes of attempts."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, NotificationState
from syftnotify.core.outbox import OutboxCounts, OutboxStore
from tests.integration.store_contract.stores import OpenOutbox
from tests.outbox_helpers import DEAD, claim_next, enqueue, fail, notification, reject, submitted
from tests.support import ANA, BO, claim, tally


def test_enqueue_of_the_same_event_twice_keeps_one_notification(outbox: OutboxStore) -> None:
    """N20"""
    enqueue(outbox, submitted())
    enqueue(outbox, submitted(), transport="other")

    assert outbox.history.counts() == tally(waiting=1)


def test_claim_returns_event_and_recipient_and_hides_the_notification(outbox: OutboxStore) -> None:
    enqueue(outbox, submitted())
    (claimed,) = claim_next(outbox)

    assert (claimed.event, claimed.recipient, claimed.audience) == (submitted(), "o@x.org", Audience.OWNER)
    assert claim_next(outbox) == []
    assert claim(outbox, "other", 100.0, worker_id="me") == []
    assert outbox.history.counts() == tally(waiting=1)


def test_claim_with_a_limit_returns_at_most_that_many_messages(outbox: OutboxStore) -> None:
    enqueue(outbox, *map(submitted, "abcde"))

    assert [len(outbox.queue.claim("box", 100.0, worker_id="me", limit=limit)) for limit in (2, 0, 9)] == [2, 0, 3]


def test_claims_of_several_threads_never_overlap(outbox: OutboxStore) -> None:
    enqueue(outbox, *(submitted(str(number)) for number in range(40)))
    claimed_ids: list[str] = []

    def work() -> None:
        while claimed := claim_next(outbox):
            claimed_ids.extend(item.id for item in claimed)
            outbox.queue.mark_sent(claimed, 101.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed_ids) == len(set(claimed_ids)) == 40


def test_mark_sent_finishes_the_event_and_stores_the_thread(outbox: OutboxStore) -> None:
    event = submitted()
    enqueue(outbox, event)
    (claimed,) = claim_next(outbox)
    outbox.queue.mark_sent([claimed], 101.0, provider_id="p1", thread="t1")

    assert outbox.history.counts() == tally(sent=1)
    assert outbox.events.with_unfinished([event.key]) == set()
    assert outbox.queue.thread_of(claimed) == "t1"
    assert outbox.queue.thread_of(replace(claimed, recipient="else@x.org")) == ""


def test_mark_failed_with_a_retry_delays_the_next_claim(outbox: OutboxStore) -> None:
    enqueue(outbox, submitted())
    fail(outbox, claim_next(outbox), 101.0, retry_at=200.0, refusal=True)

    assert claim_next(outbox, 199.0) == []
    assert outbox.queue.next_due("box", 150.0) == 200.0
    assert outbox.history.counts() == tally(waiting=1, failed=1)
    (retried,) = claim_next(outbox, 200.0)
    assert (retried.failures, retried.temporary_failures, retried.first_failed_at) == (1, 1, 101.0)


def test_mark_failed_as_dead_is_counted_and_never_claimed_again(outbox: OutboxStore) -> None:
    event = submitted()
    enqueue(outbox, event)
    reject(outbox, claim_next(outbox))

    assert outbox.history.counts() == tally(dead=1)
    assert claim_next(outbox, 1e12) == []
    assert outbox.events.with_unfinished([event.key]) == set()


def test_enqueue_of_a_skipped_notification_records_and_never_sends_it(outbox: OutboxStore) -> None:
    event = submitted()
    enqueue(outbox, event, skipped="not allowed")

    assert claim_next(outbox) == []
    assert outbox.history.counts() == OutboxCounts()
    assert outbox.events.with_unfinished([event.key]) == set()
    (record,) = outbox.history.notifications()
    assert (record.state, record.reason) == ("skipped", "not allowed")


def test_claim_of_one_conversation_keeps_the_order_one_at_a_time(outbox: OutboxStore) -> None:
    """A conversation is an entity and a recipient."""
    first, second = submitted(), Event(EventKind.JOB_APPROVED, "job/a", "T2")
    items = [notification(first), notification(second), notification(second, "b@x.org")]
    outbox.enqueue([first, second], items, 100.0)
    (other,) = claim_next(outbox)
    (one,) = claim_next(outbox)

    assert one.event.kind is EventKind.JOB_SUBMITTED
    assert other.recipient == "b@x.org"
    assert claim_next(outbox) == []
    fail(outbox, [one], 101.0, retry_at=500.0)
    assert claim_next(outbox, 200.0) == [], "an earlier message in backoff blocks the later one"
    assert outbox.queue.next_due("box", 200.0) == 500.0, "a claim before that moment would be in vain"
    outbox.queue.mark_sent(claim_next(outbox, 500.0), 501.0)
    assert claim_next(outbox, 501.0)[0].event.kind is EventKind.JOB_APPROVED


def test_claim_of_several_messages_takes_one_per_conversation(outbox: OutboxStore) -> None:
    """A digest is one of them; two messages of one conversation are never under way together."""
    single = [submitted(name) for name in "abc"]
    later = Event(EventKind.JOB_APPROVED, "job/a", "T2")
    digest = [submitted(name) for name in "xyz"]
    enqueue(outbox, *single, later)
    enqueue(outbox, *digest, bundle="b")
    messages = outbox.queue.claim("box", 100.0, worker_id="me", limit=9)

    assert [[item.event for item in message] for message in messages] == [*([event] for event in single), digest]
    assert [message[0].bundle.partition("#")[0] for message in messages] == ["", "", "", "b"]
    assert outbox.queue.claim("box", 100.0, worker_id="me", limit=9) == []


def test_claim_of_a_bundle_returns_all_of_it_as_one_message(outbox: OutboxStore) -> None:
    enqueue(outbox, *(submitted(name) for name in "abc"), bundle="b1")
    claimed = claim_next(outbox)

    assert [item.event.entity for item in claimed] == ["job/a", "job/b", "job/c"]
    outbox.queue.mark_sent(claimed, 101.0)
    assert outbox.history.counts() == tally(sent=1, notifications=3)


def test_claim_of_a_bundle_with_one_job_twice_returns_both(outbox: OutboxStore) -> None:
    enqueue(outbox, submitted(), Event(EventKind.JOB_COMPLETED, "job/a", "T2"), bundle="b")

    assert len(claim_next(outbox)) == 2


def test_claim_returns_the_last_status_kind_of_the_entity(outbox: OutboxStore) -> None:
    """A13: one row, however many events the job has; kinds that leave the status unchanged do not count."""
    first, second = submitted(), Event(EventKind.JOB_REJECTED, "job/a", "T2")
    third = Event(EventKind.JOB_UPDATED, "job/a", "T3")
    other = submitted("b")
    items = [notification(first), notification(other), notification(second)]
    outbox.enqueue([first, other, second, third], items, 1.0)

    (one,), (another,) = outbox.queue.claim("box", 100.0, worker_id="me", limit=9)
    assert (one.event, one.last_kind) == (first, EventKind.JOB_REJECTED)
    assert (another.event, another.last_kind) == (other, EventKind.JOB_SUBMITTED)
    outbox.queue.mark_sent([one], 101.0)
    ((last,),) = outbox.queue.claim("box", 102.0, worker_id="me", limit=9)
    assert (last.event, last.last_kind) == (second, EventKind.JOB_REJECTED)


def test_reassign_moves_waiting_mail_of_a_removed_transport(outbox: OutboxStore) -> None:
    enqueue(outbox, submitted(), transport="old")

    assert outbox.queue.reassign(["box"], to="box") == 1
    assert outbox.queue.reassign(["box"], to="box") == 0
    assert len(claim_next(outbox)) == 1


def test_reassign_without_a_mail_transport_makes_dead_letters(outbox: OutboxStore) -> None:
    """Such mail would wait forever unnoticed."""
    enqueue(outbox, submitted())

    assert outbox.queue.reassign(["hook"], to="") == 0
    (record,) = outbox.dead_letters.all()
    assert (record.state, record.reason) == ("dead", "box is not configured any more")


def test_skip_denied_drops_what_waits_for_a_person_who_opted_out(outbox: OutboxStore) -> None:
    """A message that is being sent is finished, and owners and operators are exempt."""
    enqueue(outbox, submitted("sending"), to=ANA)
    (sending,) = claim_next(outbox)
    enqueue(outbox, submitted("a"), to=ANA, audience=Audience.SUBMITTER)
    enqueue(outbox, submitted("b"), to=BO, audience=Audience.SUBMITTER)
    enqueue(outbox, submitted("c"), to=ANA, audience=Audience.OWNER)

    assert outbox.queue.skip_denied(ANA.__eq__, "opted out") == 1
    assert outbox.queue.skip_denied(ANA.__eq__, "opted out") == 0
    skipped = outbox.history.notifications(states=[NotificationState.SKIPPED], limit=9)
    assert [(record.recipient, record.reason) for record in skipped] == [(ANA, "opted out")]
    outbox.queue.mark_sent([sending], 101.0)
    waiting = outbox.queue.claim("box", 102.0, worker_id="me", limit=9)
    assert sorted(item.recipient for (item,) in waiting) == [ANA, BO]


def test_bound_waits_after_a_wrong_clock_brings_retries_forward(outbox: OutboxStore) -> None:
    """A11: a wait is at most as long as it was when it was set."""
    enqueue(outbox, submitted("a"), submitted("b"))
    wrong = 100.0 + 3 * 86400
    first, second = outbox.queue.claim("box", 100.0, worker_id="me", limit=2)
    fail(outbox, first, wrong, retry_at=wrong + 30)
    fail(outbox, second, 100.0, retry_at=100.0 + 3600)

    assert outbox.queue.bound_waits(100.0) == 1
    assert outbox.queue.next_due("box", 100.0) == 130.0
    assert claim_next(outbox, 130.0) != []
    assert outbox.queue.next_due("box", 130.0) == 3700.0


def test_batch_that_raises_records_no_outcome_of_it(outbox: OutboxStore) -> None:
    enqueue(outbox, submitted())
    claimed = claim_next(outbox)
    outbox.events.pop_dirty()

    def fail_midway() -> None:
        with outbox.queue.batch():
            outbox.queue.mark_sent(claimed, 101.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert outbox.history.counts() == tally(waiting=1)
    assert outbox.events.pop_dirty() == set()


def test_batch_records_all_outcomes_at_its_end(outbox: OutboxStore) -> None:
    events = [submitted(name) for name in "abc"]
    enqueue(outbox, *events)
    first, second, third = outbox.queue.claim("box", 100.0, worker_id="me", limit=3)
    outbox.events.pop_dirty()
    with outbox.queue.batch():
        outbox.queue.mark_sent(first, 101.0)
        outbox.queue.mark_failed(second, 101.0, Failure.PERMANENT, "550", DEAD)
        fail(outbox, third)
        assert outbox.events.pop_dirty() == set(), "not committed yet"

    assert outbox.history.counts() == tally(waiting=1, sent=1, dead=1, failed=1)
    assert outbox.events.pop_dirty() == {events[0].key, events[1].key}


@pytest.mark.parametrize("resend", [True, False], ids=["resend", "hold"])
def test_recover_makes_attempts_of_a_killed_worker_unknown(open_outbox: OpenOutbox, resend: bool) -> None:
    """X03: the attempt is repeated with the same id, or held for a user's decision."""
    before = open_outbox()
    enqueue(before, submitted())
    (lost,) = claim_next(before)
    before.close()
    after = open_outbox()

    assert [after.queue.recover(200.0), after.queue.recover(200.0)] == [1, 0]
    assert after.history.counts() == tally(waiting=1, unknown=1)
    assert after.history.counts(holding=["box"]) == tally(held=1, unknown=1)
    (record,) = after.dead_letters.all()
    assert (record.id, record.state, record.attempts) == (lost.id, "unknown", 1)
    assert "cut off" in record.reason
    claimed = claim_next(after, 200.0, resend=resend)
    assert [(item.id, item.failures) for item in claimed] == ([(lost.id, 0)] if resend else [])


def test_enqueue_of_an_entity_with_nul_keeps_the_whole_name(outbox: OutboxStore) -> None:
    """`notify emit` accepts such a name; functions of a database may end a text there."""
    events = [Event(kind, "a\0b", "T", "", {}) for kind in (EventKind.JOB_SUBMITTED, EventKind.JOB_FAILED)]
    enqueue(outbox, *events)
    ((claimed,),) = outbox.queue.claim("box", 100.0, worker_id="me", limit=2)
    keys = {event.key for event in events}

    assert claimed.event == events[0]
    assert claimed.last_kind is EventKind.JOB_FAILED
    assert outbox.events.with_unfinished(keys) == keys
    assert {row[0] for row in outbox.events.find(keys)} == keys
