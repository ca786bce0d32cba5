"""Takes emitted events from the spool into the outbox, and warns about long runs of emitted jobs.

Needs no tree: it works while the SyftBox folder does not exist.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from syftnotify.core.digests import BUNDLE_ABOVE, group_into_digests
from syftnotify.core.emitted_jobs import EXPIRY_SECONDS, EmittedJob, JobChanges, with_job_options
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event, Notification
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.reminders import ReminderThresholds, due_emitted_reminders
from syftnotify.core.routing import RoutingContext, long_runs, notifications_for
from syftnotify.core.text import escape
from syftnotify.sources.spool import Spool, SpoolBatch
from syftnotify.store.outbox.store import SqliteOutbox

log = logging.getLogger(__name__)


@dataclass(slots=True)
class TakenIn:
    """The new events of one scan and their notifications."""

    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    is_all: bool = True  # False: the spool holds more


class Intake:
    """The emitted events of one home."""

    def __init__(
        self,
        spool: Spool,
        outbox: SqliteOutbox,
        *,
        routing_context: Callable[[], RoutingContext],
        quiet: QuietHours | None,
        limits: ReminderThresholds,
    ) -> None:
        self._spool = spool
        self._outbox = outbox
        self._routing_context = routing_context
        self._quiet = quiet
        self._limits = limits
        self._started: dict[str, EmittedJob] | None = None  # as the outbox has them; None: not read yet

    def forget(self) -> None:
        """Read again what is remembered: the outbox was replaced."""
        self._started = None

    def take_in(self, now: float, *, time_off: bool, dry_run: bool = False) -> TakenIn:
        """Write what came in and what is due into the outbox, in one transaction, and empty the spool.

        Raises:
            StateError: the outbox cannot be used; nothing was written, the next scan finds it all again.
        """
        found = self._spool.scan()
        new = self._new_of(found) if found.events else []
        remembered = self._outbox.emitted_jobs.find({event.entity for event in new}) if new else {}
        new, changes = with_job_options(new, remembered, now)
        started = self._with(changes, now)
        taken = TakenIn(new, is_all=found.is_complete)
        if new or started:
            context = self._routing_context()
            due, reminded = due_emitted_reminders(
                started.values(), self._limits, now=now, extra_thresholds=partial(long_runs, context=context)
            )
            taken.events += due
            changes.update(reminded)
            owed = notifications_for(taken.events, context)
            owed = group_into_digests(owed, above=BUNDLE_ABOVE) if time_off else owed
            taken.notifications = defer(owed, {event.key: event for event in taken.events}, self._quiet, now)
        if not dry_run:
            self._outbox.enqueue(taken.events, taken.notifications, now, jobs=changes)
            self._started = self._with(changes, now)
            self._spool.remove(found)
            for event in taken.events:
                log.info("noticed %s %s", event.kind.value, escape(event.entity))
        return taken

    def _with(self, changes: JobChanges, now: float) -> dict[str, EmittedJob]:
        """The jobs that have started and not ended, after `changes`; forgotten ones aside.

        Without changes nothing is read from the database.
        """
        if self._started is None:
            self._started = {job.entity: job for job in self._outbox.emitted_jobs.started()}
        both: JobChanges = {**self._started, **changes}
        return {
            entity: job
            for entity, job in both.items()
            if job is not None and job.started_at is not None and now - job.started_at < EXPIRY_SECONDS
        }

    def _new_of(self, found: SpoolBatch) -> list[Event]:
        """The events that are not in the outbox yet.

        A GPU that is available is reported once until something else is emitted about it (G19), unless its emitter
        gives keys.
        """
        known = self._outbox.events.known(event.key for event in found.events)
        new: list[Event] = []
        last: dict[str, EventKind | None] = {}
        for event in found.events:
            if event.key in known:
                continue
            known.add(event.key)
            is_repeated = False
            if event.kind is EventKind.GPU_AVAILABLE and event.key not in found.keyed:
                before = last[event.entity] if event.entity in last else self._outbox.events.last_emitted(event.entity)
                is_repeated = before is event.kind
            if is_repeated:
                log.info("already reported: %s %s", event.kind.value, escape(event.entity))
            else:
                new.append(event)
            last[event.entity] = event.kind
        return new
