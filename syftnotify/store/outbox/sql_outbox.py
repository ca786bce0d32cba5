"""The part of an outbox that is the same in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from syftnotify.core.cluster import Cluster
from syftnotify.core.emitted_jobs import EmittedJobChanges
from syftnotify.core.inbox import InboxEntry, entry_of
from syftnotify.core.models import INBOX, MAIL, Event, Notification
from syftnotify.store.outbox.alert_rules import AlertRuleStore
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import PENDING
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.dead_letters import DeadLetters
from syftnotify.store.outbox.decisions import PendingDecisionStore
from syftnotify.store.outbox.emitted_jobs import EmittedJobStore, change_emitted_jobs
from syftnotify.store.outbox.events import EventLog, record_as_unknown
from syftnotify.store.outbox.history import History
from syftnotify.store.outbox.idempotency import IdempotencyKeys
from syftnotify.store.outbox.inbox import Inbox, add_entries
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.recipients import RecipientStore
from syftnotify.store.outbox.rows import event_row, notification_row
from syftnotify.store.outbox.samples import SampleStore
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS
from syftnotify.store.outbox.silences import SilenceStore
from syftnotify.store.outbox.submissions import SubmissionLog
from syftnotify.store.outbox.tokens import TokenStore
from syftnotify.store.outbox.totals import add_to_totals
from syftnotify.system.failpoints import reached

_INSERT_EVENTS = CompiledStatement(insert_new(EVENTS))
_INSERT_NOTIFICATIONS = CompiledStatement(insert_new(NOTIFICATIONS))


class SqlOutbox:
    """The tables of one home, and what is written to several of them at once."""

    def __init__(self, database: Database, alert_rules: AlertRuleStore, inbox: Inbox) -> None:
        self._database = database
        self.events = EventLog(database)
        self.history = History(database)
        self.dead_letters = DeadLetters(database)
        self.alert_rules = alert_rules
        self.recipients = RecipientStore(database)
        self.emitted_jobs = EmittedJobStore(database)
        self.submissions = SubmissionLog(database)
        self.silences = SilenceStore(database)
        self.decisions = PendingDecisionStore(database)
        self.samples = SampleStore(database)
        self.inbox = inbox
        self.tokens = TokenStore(database)
        self.idempotency = IdempotencyKeys(database)

    @property
    def cluster(self) -> Cluster | None:
        return None

    def enqueue(
        self,
        events: Sequence[Event],
        notifications: Sequence[Notification],
        now: float,
        *,
        jobs: EmittedJobChanges | None = None,
        uncertain: Collection[str] = (),
        newcomers: Collection[str] = (),
    ) -> None:
        if not events:
            return
        kinds = {event.key: event.kind for event in events}
        rows = [notification_row(item, kinds.get(item.event_key), now) for item in notifications]
        queued = [item for item in notifications if not (item.skipped or item.withheld)]
        mailed = {item.recipient for item in queued if item.medium == MAIL}
        with self._database.writing() as connection:
            _INSERT_EVENTS.execute(connection, [event_row(event, now) for event in events])
            if rows:
                _INSERT_NOTIFICATIONS.execute(connection, rows)
                self.recipients.add(connection, mailed, newcomers, now)
                add_entries(connection, _entries(events, queued, now))
            if jobs:
                change_emitted_jobs(connection, jobs, now)
            if uncertain:
                ids = [row["id"] for row in rows if row["event_key"] in uncertain and row["state"] == PENDING]
                record_as_unknown(connection, ids, now)
            add_to_totals(connection, events=len(events))
        self.recipients.committed(mailed, has_withheld=any(item.withheld for item in notifications))
        self.events.mark_dirty(event.key for event in events)
        reached("outbox.enqueued")
        self._enqueued(notifications)

    def _enqueued(self, notifications: Sequence[Notification]) -> None:
        """Announce stored notifications to other processes. A file has one worker."""

    def import_sent(
        self, events: Sequence[Event], notifications: Sequence[Notification], threads: Mapping[str, str], now: float
    ) -> None:
        if not events:
            return
        kinds = {event.key: event.kind for event in events}
        rows = [
            {**notification_row(item, kinds[item.event_key], now), "thread": threads.get(item.id, "")}
            for item in notifications
        ]
        with self._database.writing() as connection:
            _INSERT_EVENTS.execute(connection, [event_row(event, now) for event in events])
            _INSERT_NOTIFICATIONS.execute(connection, rows)
            add_to_totals(connection, events=len(events))


def _entries(events: Sequence[Event], notifications: Sequence[Notification], now: float) -> list[InboxEntry]:
    """The entries of those notifications that are delivered by being stored."""
    by_key = {event.key: event for event in events}
    return [
        entry_of(by_key[item.event_key], item.id, item.recipient, item.audience, now)
        for item in notifications
        if item.medium == INBOX and item.event_key in by_key
    ]
