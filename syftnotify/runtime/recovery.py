"""After a loss: the ledger and the outbox are rebuilt from each other, and what cannot be known is counted.

The outbox loses what was written last when its file is removed or its write-ahead log is cut. The ledger shows it: it
records how far the outbox was, which events were owed, and which emitted events were.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from syftnotify.core.kinds import BUILT_IN_KINDS, EventKind
from syftnotify.core.models import Event
from syftnotify.core.text import plural
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.outbox.store import SqliteOutbox

log = logging.getLogger(__name__)

Row = tuple[str, str, str, str]  # key, entity, kind, occurrence
_KINDS = frozenset(EventKind)


class Recovery:
    """Compares the ledger and the outbox of one home."""

    def __init__(self, ledger: Ledger, outbox: SqliteOutbox, *, restore: Callable[[str, str, str], None]) -> None:
        """`restore` is called with (entity, kind, occurrence) of each event that a lost ledger takes back."""
        self._ledger = ledger
        self._outbox = outbox
        self._restore = restore
        self.lost_emitted: list[str] = []  # keys of emitted events that are gone and were not delivered for certain
        # What was owed when the outbox was lost, by entity and word: it may have been sent.
        self._uncertain: set[tuple[str, str]] = set()

    def run(self, now: float, *, is_baseline_done: bool) -> dict[str, EventKind]:
        """Bring ledger and outbox together; returns what a lost ledger had recorded last, by entity.

        Raises:
            StateError: one of them cannot be used.
        """
        # A process that was killed, or a database that was replaced meanwhile, left them claimed.
        self._outbox.queue.recover(now)
        if self._outbox.events.has_regressed(self._ledger.outbox_progress()):
            self._after_regress(now)
        self._disown_missing()
        self._find_lost_emitted()
        return {} if is_baseline_done else self._rebuild_ledger()

    def uncertain_keys(self, events: Iterable[Event]) -> set[str]:
        """The keys of those events that were owed when the outbox was lost: their notifications may have been sent."""
        return {event.key for event in events if self._place(event) in self._uncertain} if self._uncertain else set()

    def enqueued(self, events: Iterable[Event]) -> None:
        """These are in the outbox again."""
        if self._uncertain:
            self._uncertain.difference_update(map(self._place, events))

    def _place(self, event: Event) -> tuple[str, str]:
        return event.entity, self._ledger.label(event.entity, event.kind, event.occurrence)

    def note(self) -> None:
        """Record how far the outbox is, together with other changes of the ledger."""
        if self._ledger.is_changed:
            self._ledger.set_outbox_progress(self._outbox.events.progress())

    def emitted(self, keys: Iterable[str]) -> None:
        """Emitted events that owe a notification went into the outbox."""
        for key in keys:
            self._ledger.set_emitted_owed(key, is_owed=True)

    def settle(self, touched: Iterable[str]) -> None:
        """Emitted events that owe nothing any more are forgotten."""
        waiting = self._ledger.owed_emitted_keys()
        keys = waiting.intersection(touched) if waiting else set()
        for key in keys - self._outbox.events.with_unfinished(keys) if keys else ():
            self._ledger.set_emitted_owed(key, is_owed=False)

    def forget_lost(self) -> None:
        """The owner was alerted about lost emitted events."""
        for key in self.lost_emitted:
            self._ledger.set_emitted_owed(key, is_owed=False)
        self.lost_emitted = []

    def word(self, row: Row) -> str:
        """How the ledger writes the event."""
        _, entity, kind, occurrence = row
        return self._ledger.label(entity, EventKind(kind), occurrence)

    def finish(self, rows: Iterable[Row]) -> None:
        """Record the events as notified that are owed and have nothing left to send."""
        owed = self._ledger.owed()
        known = [row for row in rows if row[2] in _KINDS and self.word(row) in owed.get(row[1], ())]
        unfinished = self._outbox.events.with_unfinished(key for key, *_ in known)
        for key, entity, kind, occurrence in known:
            if key not in unfinished:
                self._ledger.mark_settled(entity, EventKind(kind), occurrence)

    def _after_regress(self, now: float) -> None:
        """The outbox is older than the ledger: what it takes for unsent may have been sent since."""
        rows = [row for row in self._outbox.events.unfinished() if row[2] in _KINDS]
        owed, waiting = self._ledger.owed(), self._ledger.owed_emitted_keys()
        finished = {
            key
            for key, entity, kind, occurrence in rows
            if self._ledger.is_recorded(entity, EventKind(kind), occurrence)
            and self.word((key, entity, kind, occurrence)) not in owed.get(entity, ())
        }
        finished |= self._outbox.events.unfinished_emitted() - waiting
        count = self._outbox.events.mark_uncertain(now, finished=finished)
        if count:
            log.warning(
                "the outbox lost its last changes; %s may have been sent already", plural(count, "notification")
            )

    def _disown_missing(self) -> None:
        owed = self._ledger.owed()
        known = {(row[1], self.word(row)) for row in self._outbox.events.for_entities(owed) if row[2] in _KINDS}
        for entity, words in owed.items():
            for word in words:
                if (entity, word) not in known:
                    log.warning(
                        "an owed event of %s is gone from the outbox; it is enqueued again if still true", entity
                    )
                    self._uncertain.add((entity, word))
                    self._ledger.clear_owed(entity, word)

    def _find_lost_emitted(self) -> None:
        waiting = self._ledger.owed_emitted_keys()
        self.lost_emitted = sorted(waiting - self._outbox.events.known(waiting)) if waiting else []
        if self.lost_emitted:
            log.error("%s are gone from the outbox", plural(len(self.lost_emitted), "emitted event"))

    def _rebuild_ledger(self) -> dict[str, EventKind]:
        rows = [row for row in self._outbox.events.all() if row[2] in BUILT_IN_KINDS]
        if not rows:
            return {}
        log.warning("the state file is empty; %d events are taken from the outbox", len(rows))
        unfinished = self._outbox.events.with_unfinished(key for key, *_ in rows)
        for key, entity, kind, occurrence in rows:
            put = self._ledger.mark_owed if key in unfinished else self._ledger.mark_settled
            put(entity, EventKind(kind), occurrence)
            generation, counted, count = occurrence.rpartition("#")
            if counted and count.isdigit():
                self._ledger.set_rerun_count(entity, generation, int(count))
            self._restore(entity, kind, occurrence)
        return {entity: EventKind(kind) for _, entity, kind, _ in rows}
