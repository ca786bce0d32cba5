"""Recovery after a loss: the ledger and the outbox are rebuilt from each other.

The outbox loses its last changes if its file is removed, replaced by a copy, or its write-ahead log is cut. The ledger
reveals this: it records the progress of the outbox, and which events, emitted ones included, were owed. Notifications
that may have been sent since are marked as uncertain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from syftnotify.core.kinds import BUILT_IN_KINDS, REMINDER_KINDS, EventKind
from syftnotify.core.models import Event
from syftnotify.core.outbox import OutboxStore, RecordedEvent
from syftnotify.core.text import plural
from syftnotify.store.ledger.index import Ledger

log = logging.getLogger(__name__)

_KINDS = frozenset(EventKind)


class Recovery:
    """Compares the ledger and the outbox of one home."""

    def __init__(self, ledger: Ledger, outbox: OutboxStore, *, restore: Callable[[str, str, str], None]) -> None:
        """`restore` is called with (entity, kind, occurrence) of each event that is restored into a lost ledger."""
        self._ledger = ledger
        self._outbox = outbox
        self._restore = restore
        self.lost_emitted: list[str] = []  # keys of emitted events that are lost and may not have been delivered
        # (entity, label) of what was owed when the outbox was lost: it may have been sent.
        self._uncertain: set[tuple[str, str]] = set()

    def run(self, now: float, *, is_baseline_done: bool) -> dict[str, EventKind]:
        """Reconcile ledger and outbox; returns the last kind of each entity if the ledger was lost.

        Raises:
            StateError: one of them cannot be used.
        """
        # A killed process, or a replaced database, left notifications claimed.
        self._outbox.queue.recover(now)
        if self._outbox.events.has_regressed(self._ledger.outbox_progress()):
            self._handle_regression(now)
        self._clear_missing()
        self._find_lost_emitted()
        return {} if is_baseline_done else self._rebuild_ledger()

    def uncertain_keys(self, events: Iterable[Event]) -> set[str]:
        """The keys of the `events` that were owed when the outbox was lost: their notifications may have been sent."""
        return {event.key for event in events if self._labelled(event) in self._uncertain} if self._uncertain else set()

    def record_enqueued(self, events: Iterable[Event]) -> None:
        """Record that these events are in the outbox again: they are not uncertain any more."""
        if self._uncertain:
            self._uncertain.difference_update(map(self._labelled, events))

    def record_progress(self) -> None:
        """Record the progress of the outbox in the ledger, if the ledger has other changes to save."""
        if self._ledger.is_changed:
            self._ledger.set_outbox_progress(self._outbox.events.progress())

    def record_emitted(self, keys: Iterable[str]) -> None:
        """Record emitted events that have notifications in the outbox."""
        for key in keys:
            self._ledger.set_emitted_owed(key, is_owed=True)

    def finish_emitted(self, keys: Iterable[str]) -> None:
        """Delete the records of those emitted events that have nothing unfinished."""
        waiting = self._ledger.owed_emitted_keys()
        finished = waiting.intersection(keys) if waiting else set()
        for key in finished - self._outbox.events.with_unfinished(finished) if finished else ():
            self._ledger.set_emitted_owed(key, is_owed=False)

    def forget_lost(self) -> None:
        """Clear the lost emitted events, once the owner was alerted about them."""
        for key in self.lost_emitted:
            self._ledger.set_emitted_owed(key, is_owed=False)
        self.lost_emitted = []

    def finish(self, rows: Iterable[RecordedEvent]) -> None:
        """Record those events as notified that are owed and have no unfinished notification."""
        owed = self._ledger.owed()
        known = [row for row in rows if row.kind in _KINDS and self._label(row) in owed.get(row.entity, ())]
        unfinished = self._outbox.events.with_unfinished(key for key, *_ in known)
        for key, entity, kind, occurrence in known:
            if key not in unfinished:
                self._ledger.mark_settled(entity, EventKind(kind), occurrence)

    def _handle_regression(self, now: float) -> None:
        """Mark unfinished notifications of an outbox that is older than the ledger: they may have been sent since."""
        rows = [row for row in self._outbox.events.unfinished() if row.kind in _KINDS]
        owed, waiting = self._ledger.owed(), self._ledger.owed_emitted_keys()
        finished = {
            row.key
            for row in rows
            if self._ledger.is_recorded(row.entity, EventKind(row.kind), row.occurrence)
            and self._label(row) not in owed.get(row.entity, ())
        }
        finished |= self._outbox.events.unfinished_emitted() - waiting
        count = self._outbox.events.mark_uncertain(now, finished=finished)
        if count:
            log.warning(
                "the outbox lost its last changes; %s may have been sent already", plural(count, "notification")
            )

    def _clear_missing(self) -> None:
        """Clear owed events that the outbox lost, so that they are detected again."""
        owed = self._ledger.owed()
        known = {(row.entity, self._label(row)) for row in self._outbox.events.for_entities(owed) if row.kind in _KINDS}
        for entity, labels in owed.items():
            for label in labels:
                if (entity, label) not in known:
                    log.warning(
                        "an owed event of %s is gone from the outbox; it is enqueued again if still true", entity
                    )
                    self._uncertain.add((entity, label))
                    self._ledger.clear_owed(entity, label)

    def _find_lost_emitted(self) -> None:
        waiting = self._ledger.owed_emitted_keys()
        self.lost_emitted = sorted(waiting - self._outbox.events.known(waiting)) if waiting else []
        if self.lost_emitted:
            log.error("%s are gone from the outbox", plural(len(self.lost_emitted), "emitted event"))

    def _rebuild_ledger(self) -> dict[str, EventKind]:
        """Record all events of the outbox in a lost ledger; returns the last kind of each entity."""
        rows = [row for row in self._outbox.events.all() if row.kind in BUILT_IN_KINDS]
        if not rows:
            return {}
        log.warning("the state file is empty; %d events are taken from the outbox", len(rows))
        unfinished = self._outbox.events.with_unfinished(key for key, *_ in rows)
        for key, entity, kind, occurrence in rows:
            mark = self._ledger.mark_owed if key in unfinished else self._ledger.mark_settled
            mark(entity, EventKind(kind), occurrence)
            occurrence_base, separator, count = occurrence.rpartition("#")
            if separator and count.isdigit():
                self._ledger.set_rerun_count(entity, occurrence_base, int(count))
            self._restore(entity, kind, occurrence)
        # These do not change the status of a job.
        without_status = REMINDER_KINDS | {EventKind.JOB_FILES_CHANGED}
        return {entity: EventKind(kind) for _, entity, kind, _ in rows if kind not in without_status}

    def _labelled(self, event: Event) -> tuple[str, str]:
        """The entity of an event and the ledger's label of it."""
        return event.entity, self._ledger.label(event.entity, event.kind, event.occurrence)

    def _label(self, row: RecordedEvent) -> str:
        """The ledger's label of an event of the outbox."""
        return self._ledger.label(row.entity, EventKind(row.kind), row.occurrence)
