"""The ledger of a worker: the index of notified and owed events, and the worker's notes about entities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import END_KINDS, EventKind
from syftnotify.core.models import EndMark, PeerRound
from syftnotify.store.ledger.labels import json_text, kind_of, label_of, later_label, occurrence_hash
from syftnotify.store.ledger.shared_state import SharedState
from syftnotify.store.ledger.state import Section


class Ledger(SharedState):
    """Records which events are notified or owed; implements `core.detection.NotifiedIndex`.

    The first occurrence of a kind has a plain label, and its hash is noted. Later ones have a label with the
    occurrence. An event is owed until all its notifications are sent, dead or skipped, and notified from then on.

    Changes are in memory until `save`.
    """

    # -- events --------------------------------------------------------------------------------------------------

    def is_recorded(self, entity: str, kind: EventKind, occurrence: str) -> bool:
        """Whether the occurrence is notified or owed. May note which occurrence a plain label stands for."""
        labels = self.content.labels(entity)
        if later_label(kind, occurrence) in labels:
            return True
        if label_of(kind) not in labels:
            return False
        first = self._first_hash(entity, kind)
        if not first:
            # A caller of `JsonStateManager` recorded the label, which stands for the current occurrence.
            self._note_first(entity, kind, occurrence)
            return True
        return first == occurrence_hash(occurrence)

    def has_events(self, entity: str) -> bool:
        """Whether any event of `entity` is recorded."""
        return bool(self.content.labels(entity))

    def end_count(self, entity: str) -> int:
        """The number of recorded ends of `entity`."""
        return sum(kind_of(label) in END_KINDS for label in self.content.labels(entity))

    def entities(self, prefix: str) -> list[str]:
        """The sorted entities with recorded events whose ids start with `prefix`."""
        with self.lock:
            indexes = (self.content.notified, self.content.owed)
            return sorted({entity for index in indexes for entity in index if entity.startswith(prefix)})

    def notified_kinds(self, name: str) -> dict[str, list[EventKind]]:
        """The notified kinds by entity, of the entity `name` or of every job of that name."""
        ending = f"/{entity_id(name)}"
        found = {}
        for entity, labels in self.content.notified.items():
            if entity == name or entity.endswith(ending):
                kinds = set(map(kind_of, labels))
                found[entity] = [kind for kind in EventKind if kind.value in kinds]
        return found

    def label(self, entity: str, kind: EventKind, occurrence: str) -> str:
        """The label of an occurrence."""
        is_first = self._first_hash(entity, kind) in {"", occurrence_hash(occurrence)}
        return label_of(kind) if is_first else later_label(kind, occurrence)

    def owed(self) -> dict[str, list[str]]:
        """The owed labels by entity."""
        with self.lock:
            return {entity: list(labels) for entity, labels in self.content.owed.items()}

    def mark_owed(self, entity: str, kind: EventKind, occurrence: str) -> None:
        """Record that the event is in the outbox."""
        with self.lock:
            self.add_owed(entity, self._claim_label(entity, kind, occurrence))

    def mark_settled(self, entity: str, kind: EventKind, occurrence: str) -> None:
        """Record that nothing is owed for the event: its notifications are sent, dead or skipped, or it had none."""
        with self.lock:
            label = self._claim_label(entity, kind, occurrence)
            self.remove_owed(entity, label)
            self.add_notified(entity, label)

    def clear_owed(self, entity: str, label: str) -> None:
        """Forget an owed event that the outbox has lost, so that this and every later process detects it again."""
        with self.lock:
            self.invalidate_revision()
            self.remove_owed(entity, label)

    def _claim_label(self, entity: str, kind: EventKind, occurrence: str) -> str:
        """The label of an occurrence that is about to be recorded; the first one of its kind gets the plain label."""
        if not self._first_hash(entity, kind):
            self._note_first(entity, kind, occurrence)
        return self.label(entity, kind, occurrence)

    def _first_hash(self, entity: str, kind: EventKind) -> str:
        """The hash of the occurrence that has the plain label of `kind`; empty if there is none or it is not known."""
        for each in self.notes(Section.FIRST).get(entity, "").split():
            name, _, found = each.partition("=")
            if name == kind.value:
                return str(found)
        return ""

    def _note_first(self, entity: str, kind: EventKind, occurrence: str) -> None:
        first = f"{self.notes(Section.FIRST).get(entity, '')} {kind.value}={occurrence_hash(occurrence)}"
        self.set_note(Section.FIRST, entity, first.lstrip())

    # -- jobs ----------------------------------------------------------------------------------------------------

    def rerun_count(self, entity: str, submission: str) -> int:
        """How often that submission was seen running again after a recorded end."""
        return int(self.notes(Section.RERUNS).get(entity, {}).get(submission, 0))

    def set_rerun_count(self, entity: str, submission: str, count: int) -> None:
        self.set_note(Section.RERUNS, entity, {**self.notes(Section.RERUNS).get(entity, {}), submission: count})

    def end_mark(self, entity: str) -> EndMark | None:
        """The mark of the last end of `entity`, if it has one."""
        found = self.notes(Section.END_MARKS).get(entity)
        return None if found is None else EndMark(*found)

    def set_end_mark(self, entity: str, mark: EndMark) -> None:
        self.set_note(Section.END_MARKS, entity, list(astuple(mark)))

    def is_unreadable(self, entity: str) -> bool:
        """Whether the baseline scan could not read `entity`, and no later scan could."""
        return entity in self.notes(Section.UNREADABLE)

    def update_unreadable(self, unreadable: set[str], readable: set[str]) -> None:
        """Record which entities the baseline scan could not read, and which of them could be read since."""
        for entity in sorted(unreadable - self.notes(Section.UNREADABLE).keys()):
            self.set_note(Section.UNREADABLE, entity, True)
        for entity in readable:
            self.set_note(Section.UNREADABLE, entity, None)

    def is_unstable(self, entity: str) -> bool:
        """Whether `entity` vanished, and is missing or not yet stable again."""
        return entity in self.notes(Section.VANISHED)

    def unstable_entities(self) -> set[str]:
        """All entities that vanished, and are missing or not yet stable again."""
        return set(self.notes(Section.VANISHED))

    def reappeared_at(self, entity: str) -> float | None:
        """When an unstable entity reappeared, in seconds since 1970; 0 if it is missing, None if it is stable."""
        found: float | None = self.notes(Section.VANISHED).get(entity)
        return found

    def record_vanished(self, is_vanished: Callable[[str], bool], among: Iterable[str] | None = None) -> list[str]:
        """Record the entities with a recorded end that have vanished; returns the newly recorded ones.

        `is_vanished` returns whether an entity is a missing job in a layout that gives an end no time: an end that is
        found later could be the recorded one. `among` are the entities to check; None: all that were ever notified.
        """
        vanished = self.notes(Section.VANISHED)
        missing = [
            entity
            for entity in (self.content.notified if among is None else among)
            if is_vanished(entity) and vanished.get(entity) != 0 and self.end_count(entity)
        ]
        for entity in missing:
            self.set_note(Section.VANISHED, entity, 0)
        return missing

    def record_reappeared(self, reappeared: Iterable[str], stable: Iterable[str], at: float) -> None:
        """Record the entities that reappeared at `at` and those that are stable again."""
        for entity in reappeared:
            self.set_note(Section.VANISHED, entity, at)
        for entity in stable:
            self.set_note(Section.VANISHED, entity, None)

    # -- everything else that must survive a restart -------------------------------------------------------------

    def baseline(self, scope: str) -> str:
        """When the baseline scan of `scope` (for example `jobs <owner>`) finished, as ISO time; empty if it has not."""
        return str(self.notes(Section.BASELINES).get(scope, ""))

    def baselines(self) -> dict[str, str]:
        """When each baseline scan finished, as ISO time by scope."""
        return dict(self.notes(Section.BASELINES))

    def record_baseline(self, scope: str, at: str) -> None:
        """Record that the baseline scan of `scope` finished at `at`, an ISO time."""
        self.set_note(Section.BASELINES, scope, at)

    def peer_rounds(self) -> dict[str, PeerRound]:
        """The rounds of peers that differ from the default, by entity."""
        with self.lock:
            return {entity: PeerRound(*fields) for entity, fields in self.notes(Section.PEER_ROUNDS).items()}

    def set_peer_round(self, entity: str, current: PeerRound) -> None:
        self.set_note(Section.PEER_ROUNDS, entity, list(astuple(current)) if current != PeerRound() else None)

    def owed_emitted_keys(self) -> set[str]:
        """The keys of emitted events with unfinished notifications. All else about these events is in the outbox."""
        return set(self.notes(Section.EMITTED))

    def set_emitted_owed(self, key: str, *, is_owed: bool) -> None:
        """Record whether the emitted event with that key has unfinished notifications."""
        name = json_text(key)
        if is_owed or name in self.notes(Section.EMITTED):
            self.set_note(Section.EMITTED, name, True if is_owed else None)

    def outbox_progress(self) -> list[int]:
        """The totals of the outbox (see `EventLog.progress`) at the last save; empty if they were never recorded."""
        return list(self.notes(Section.OUTBOX).get("progress", []))

    def set_outbox_progress(self, progress: list[int]) -> None:
        self.set_note(Section.OUTBOX, "progress", progress)
