"""Enqueueing of emitted events from the spool, and of reminders about long runs of emitted jobs.

It does not need the SyftBox folder, so these events are sent even if there is none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial

from syftnotify.core.digests import BUNDLE_ABOVE, group_into_digests
from syftnotify.core.emitted_jobs import EXPIRY_SECONDS, EmittedJob, EmittedJobChanges, with_job_options
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.reminders import ReminderThresholds, due_emitted_reminders
from syftnotify.core.routing import RoutingContext, long_runs, notifications_for
from syftnotify.core.text import escape
from syftnotify.sources.spool import Spool, SpoolBatch
from syftnotify.sources.syftbox.watch.spec import WatchSpec

log = logging.getLogger(__name__)


@dataclass(slots=True)
class EnqueuedEvents:
    """The new events of one scan of the spool, and their notifications."""

    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    is_complete: bool = True  # False: the spool has more


class EmittedEvents:
    """The emitted events of one home."""

    def __init__(
        self, spool: Spool, outbox: OutboxStore, *, quiet_hours: QuietHours | None, thresholds: ReminderThresholds
    ) -> None:
        self._spool = spool
        self._outbox = outbox
        self._quiet_hours = quiet_hours
        self._thresholds = thresholds
        self._started: dict[str, EmittedJob] | None = None  # as stored in the outbox; None: not read yet

    def watch_specs(self) -> list[WatchSpec]:
        """The spool folder, if it exists."""
        return [WatchSpec(self._spool.folder, recursive=False)] if self._spool.folder.is_dir() else []

    def clear_cache(self) -> None:
        """Read the stored jobs again, after the outbox was replaced."""
        self._started = None

    def enqueue(
        self, now: float, context: RoutingContext, *, group: bool, reminds: bool = True, dry_run: bool = False
    ) -> EnqueuedEvents:
        """Enqueue new events and due reminders in one transaction, and remove the events from the spool.

        With `group`, many notifications to one recipient become a digest. Without `reminds`, another worker sends the
        reminders. With `dry_run`, nothing is changed.

        Raises:
            StateError: the outbox cannot be used. Nothing was enqueued; the next scan finds it all again.
        """
        batch = self._spool.scan()
        new = self._new_events(batch) if batch.events else []
        stored = self._outbox.emitted_jobs.find({event.entity for event in new}) if new else {}
        new, changes = with_job_options(new, stored, now)
        started = self._apply(changes, now) if reminds else {}
        found = EnqueuedEvents(new, is_complete=batch.is_complete)
        if new or started:
            due, reminded = due_emitted_reminders(
                started.values(), self._thresholds, now=now, extra_thresholds=partial(long_runs, context=context)
            )
            found.events += due
            changes.update(reminded)
            notifications = notifications_for(found.events, context)
            if group:
                notifications = group_into_digests(notifications, above=BUNDLE_ABOVE)
            by_key = {event.key: event for event in found.events}
            found.notifications = defer(notifications, by_key, self._quiet_hours, now)
        if not dry_run:
            self._outbox.enqueue(found.events, found.notifications, now, jobs=changes)
            # Several workers of one home store such jobs; the only worker of an outbox knows what is stored.
            self._started = self._apply(changes, now) if self._outbox.cluster is None else None
            self._spool.remove(batch)
            for event in found.events:
                log.info("detected %s %s", event.kind.value, escape(event.entity))
        return found

    def _apply(self, changes: EmittedJobChanges, now: float) -> dict[str, EmittedJob]:
        """The jobs that have started and not ended, after `changes`, without expired ones.

        Without changes nothing is read from the database.
        """
        if self._started is None:
            self._started = {job.entity: job for job in self._outbox.emitted_jobs.started()}
        jobs: EmittedJobChanges = {**self._started, **changes}
        return {
            entity: job
            for entity, job in jobs.items()
            if job is not None and job.started_at is not None and now - job.started_at < EXPIRY_SECONDS
        }

    def _new_events(self, batch: SpoolBatch) -> list[Event]:
        """The events that are not in the outbox yet.

        An event of a kind that is reported once is dropped if it repeats the last event of its entity, unless its
        emitter gave a key.
        """
        known = self._outbox.events.known(event.key for event in batch.events)
        new: list[Event] = []
        last: dict[str, EventKind | None] = {}
        for event in batch.events:
            if event.key in known:
                continue
            known.add(event.key)
            if self._is_repeated(event, batch, last):
                log.info("already reported: %s %s", event.kind.value, escape(event.entity))
            else:
                new.append(event)
            last[event.entity] = event.kind
        return new

    def _is_repeated(self, event: Event, batch: SpoolBatch, last: dict[str, EventKind | None]) -> bool:
        if not event.kind.spec.is_reported_once or event.key in batch.keyed:
            return False
        before = last[event.entity] if event.entity in last else self._outbox.events.last_emitted(event.entity)
        return before is event.kind
