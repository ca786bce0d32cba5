"""After a loss: the ledger and the outbox are rebuilt from each other, and what cannot be known is counted.

The outbox loses what was written last when its file is removed or its write-ahead log is cut. The ledger shows it: it
records how far the outbox was, which events were owed, and which emitted events were.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from syftnotify.core.kinds import BUILT_IN_KINDS, EventKind
from syftnotify.core.models import Event
from syftnotify.core.outbox import OutboxStore, RecordedEvent
from syftnotify.core.text import plural
from syftnotify.store.ledger.index import Ledger

log = logging.getLogger(__name__)

_KINDS = frozenset(EventKind)


class Recovery:
    """Compares the ledger and the outbox of one home."""

    def __init__(self, ledger: Ledger, outbox: OutboxStore, *, restore: Callable[[str, str, str], None]) -> None:
        """`restore` is called with (entity, kind, occurrence) of each event that is taken back into a lost ledger."""
        self._ledger = ledger
        self._outbox = outbox
        self._restore = restore
        self.lost_emitted: list[str] = []  # keys of emitted events that are gone and may not have been delivered
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
        """The keys of those events that were owed when the outbox was lost: their notifications may have been sent."""
        return {event.key for event in events if self._label_of(event) in self._uncertain} if self._uncertain else set()

    def record_enqueued(self, events: Iterable[Event]) -> None:
        """These events are in the outbox again."""
        if self._uncertain:
            self._uncertain.difference_update(map(self._label_of, events))

    def _label_of(self, event: Event) -> tuple[str, str]:
        return event.entity, self._ledger.label(event.entity, event.kind, event.occurrence)

    def record_progress(self) -> None:
        """Record how far the outbox is, together with other changes of the ledger."""
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
        """The owner was alerted about lost emitted events."""
        for key in self.lost_emitted:
            self._ledger.set_emitted_owed(key, is_owed=False)
        self.lost_emitted = []

    def _label(self, row: RecordedEvent) -> str:
        """The ledger's label of the event."""
        _, entity, kind, occurrence = row
        return self._ledger.label(entity, EventKind(kind), occurrence)

    def finish(self, rows: Iterable[RecordedEvent]) -> None:
        """Record the events as notified that are owed and have nothing left to send."""
        owed = self._ledger.owed()
        known = [row for row in rows if row.kind in _KINDS and self._label(row) in owed.get(row.entity, ())]
        unfinished = self._outbox.events.with_unfinished(key for key, *_ in known)
        for key, entity, kind, occurrence in known:
            if key not in unfinished:
                self._ledger.mark_settled(entity, EventKind(kind), occurrence)

    def _handle_regression(self, now: float) -> None:
        """The outbox is older than the ledger: what is unsent in it may have been sent since."""
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
        return {entity: EventKind(kind) for _, entity, kind, _ in rows}
