"""Store contract: the notifications of persons."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from syftnotify.core.inbox import InboxEntry, InboxFilter, entry_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import INBOX, Event, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.cursors import prepare_cursors
from syftnotify.services.inbox import inbox_page
from tests.integration.store_contract.stores import OpenOutbox
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.support import ANA, BO, tally

PAYLOAD = {"workflow_id": "w1", "workflow_name": "Daily ETL", "status": "FAILED"}


def emitted(number: int, kind: EventKind = EventKind.JOB_FAILED, **payload: object) -> Event:
    return Event(kind, f"run/{number}", f"T{number}", payload={**PAYLOAD, **payload}, emitted=True)


def store(outbox: OutboxStore, *events: Event, to: str = ANA, now: float = 100.0) -> list[str]:
    """Store a notification about each event; returns the ids of the entries."""
    items = [Notification(event.key, event.entity, to, Audience.RECIPIENT, INBOX, INBOX) for event in events]
    outbox.enqueue(events, items, now)
    return [entry_id(item.id) for item in items]


def entities(entries: Sequence[InboxEntry]) -> list[str]:
    return [entry.entity for entry in entries]


def page(outbox: OutboxStore, to: str = ANA, limit: int = 9, **conditions: object) -> list[str]:
    return entities(outbox.inbox.page(to, InboxFilter(**conditions), limit).entries)  # type: ignore[arg-type] # any condition


def test_notification_is_stored_by_its_enqueueing_once(outbox: OutboxStore) -> None:
    """C12: it is delivered in the transaction that records the event, and nothing is sent."""
    event = emitted(1)
    ids = store(outbox, event) + store(outbox, event, now=200.0)

    (entry,) = outbox.inbox.page(ANA, InboxFilter(), 9).entries
    assert {entry.id} == set(ids)
    assert uuid.UUID(entry.id)
    assert (entry.kind, entry.payload, entry.recipient) == ("JOB_FAILED", {"job_id": "run/1", **event.payload}, ANA)
    assert (entry.created_at, entry.read_at, entry.updated_at) == (100.0, None, 100.0)
    assert claim_next(outbox) == []
    assert outbox.history.counts() == tally()
    (record,) = outbox.history.notifications(limit=9)
    assert (record.state, record.transport) == ("sent", INBOX)


def test_notification_beside_mail_is_one_of_each(outbox: OutboxStore) -> None:
    event = submitted()
    enqueue(outbox, event, to=ANA)
    store(outbox, event)

    assert len(claim_next(outbox)) == 1
    assert page(outbox) == [event.entity]


def test_page_has_the_latest_first_and_continues_before_a_position(outbox: OutboxStore) -> None:
    """C08: also if the clock was set back."""
    for number in range(5):
        store(outbox, emitted(number), now=100.0 - number)
    prepare_cursors(outbox)
    first = inbox_page(outbox, ANA, InboxFilter(), limit=2)
    store(outbox, emitted(5))
    assert first.cursor is not None
    second = inbox_page(outbox, ANA, InboxFilter(), cursor=first.cursor)

    assert entities(first.entries) == ["run/4", "run/3"]
    assert (entities(second.entries), second.cursor) == (["run/2", "run/1", "run/0"], None)


def test_page_is_filtered(outbox: OutboxStore) -> None:
    """C15"""
    read, *_ = store(outbox, emitted(1), emitted(2, EventKind.JOB_COMPLETED), emitted(3, workflow_id="w2"))
    store(outbox, emitted(4, workflow_id="", workflow_name="Other"), now=500.0)
    store(outbox, emitted(9), to=BO)
    outbox.inbox.mark_read(ANA, [read], 600.0)

    assert page(outbox, unread=True) == ["run/4", "run/3", "run/2"]
    assert page(outbox, kind="JOB_COMPLETED") == ["run/2"]
    assert page(outbox, entity="run/3") == ["run/3"]
    assert page(outbox, workflow="w1") == ["run/2", "run/1"]
    assert page(outbox, workflow="Other") == ["run/4"]
    assert page(outbox, since=500.0) == ["run/4"]
    assert page(outbox, unread=True, workflow="w1", kind="JOB_FAILED") == []
    assert outbox.inbox.counts(ANA) == (4, 3)
    assert outbox.inbox.counts("nobody@x.example") == (0, 0)


def test_find_returns_only_own_notifications(outbox: OutboxStore) -> None:
    """C10"""
    (own,) = store(outbox, emitted(1))
    found = outbox.inbox.find(ANA, own)

    assert found is not None
    assert found.entity == "run/1"
    assert outbox.inbox.find(BO, own) is None
    assert outbox.inbox.find(ANA, str(uuid.uuid4())) is None


def test_mark_read_keeps_the_first_time(outbox: OutboxStore) -> None:
    """C10: marking again is allowed."""
    first, second = store(outbox, emitted(1), emitted(2))

    assert outbox.inbox.mark_read(ANA, [first, first], 200.0) == []
    assert outbox.inbox.mark_read(ANA, [first, second], 300.0) == []
    entries = {entry.id: entry for entry in outbox.inbox.page(ANA, InboxFilter(), 9).entries}
    assert [(entries[each].read_at, entries[each].updated_at) for each in (first, second)] == [
        (200.0, 200.0),
        (300.0, 300.0),
    ]


def test_mark_read_of_a_foreign_or_unknown_notification_changes_nothing(outbox: OutboxStore) -> None:
    """C10: all or nothing."""
    (own,), (foreign,) = store(outbox, emitted(1)), store(outbox, emitted(2), to=BO)
    unknown = str(uuid.uuid4())

    assert outbox.inbox.mark_read(ANA, [own, foreign, unknown], 200.0) == [foreign, unknown]
    assert (outbox.inbox.counts(ANA), outbox.inbox.counts(BO)) == ((1, 1), (1, 1))


def test_stream_continues_after_a_position(outbox: OutboxStore, open_outbox: OpenOutbox) -> None:
    """C12: what other processes store, of all persons, in order; no position is used twice."""
    assert outbox.inbox.position() is None
    assert outbox.inbox.after(0, 9).entries == []
    other = open_outbox()
    (first,) = store(other, emitted(1))
    store(other, emitted(2), to=BO)
    found = outbox.inbox.find(ANA, first)

    assert found is not None
    assert entities(outbox.inbox.after(0, 9).entries) == ["run/1", "run/2"]
    assert entities(outbox.inbox.after(0, 1).entries) == ["run/1"]
    assert entities(outbox.inbox.after(0, 9, BO).entries) == ["run/2"]
    assert entities(outbox.inbox.after(found.position, 9).entries) == ["run/2"]
    last = outbox.inbox.position()
    outbox.history.prune(1e9, 1e9, exempt=())
    store(outbox, emitted(3))
    assert last is not None
    assert entities(outbox.inbox.after(last, 9).entries) == ["run/3"]


def test_prune_deletes_notifications_with_their_events(outbox: OutboxStore) -> None:
    """C14: only `retention` and `notify prune` delete them."""
    store(outbox, emitted(1), now=100.0)
    store(outbox, emitted(2), now=900.0)
    outbox.history.prune(500.0, 1000.0, exempt=())

    assert page(outbox) == ["run/2"]


def test_name_that_is_not_text_stops_nothing(outbox: OutboxStore) -> None:
    """A folder in the tree whose name is not UTF-8."""
    event = Event(EventKind.JOB_SUBMITTED, "job/D/o/s/job%FF", payload={"name": "job\udcff"})
    item = Notification(event.key, event.entity, ANA, Audience.OWNER, INBOX, INBOX, for_programs=True)
    outbox.enqueue([event], [item], 100.0)
    (entry,) = outbox.inbox.page(ANA, InboxFilter(), 9).entries

    assert entry.payload["workflow_name"] == entry.workflow_name == "job?"


def test_reading_cancels_mail_that_waits_for_the_same_person(outbox: OutboxStore) -> None:
    """Read once, quiet everywhere: also reminders about the same job; what concerns others stays."""
    event, reminder = submitted(), replace(submitted(), kind=EventKind.JOB_WAITING)
    for each in (event, reminder):
        enqueue(outbox, each, to=ANA)
        enqueue(outbox, each, to=BO)
    (entry,) = store(outbox, event)
    outbox.events.pop_dirty()
    outbox.inbox.mark_read(ANA, [entry], 200.0)
    records = outbox.history.notifications(limit=9)

    assert {
        (each.kind, each.state, each.reason) for each in records if each.recipient == ANA and each.transport != INBOX
    } == {(kind.value, "skipped", "read in the inbox") for kind in (event.kind, reminder.kind)}
    assert {each.state for each in records if each.recipient == BO} == {"pending"}
    assert outbox.events.pop_dirty() == {event.key, reminder.key}
    assert outbox.events.pop_dirty() == set()
