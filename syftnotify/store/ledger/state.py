"""The content of the state file: labels by entity, and JSON data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from syftnotify.store.ledger.labels import LabelPool, Labels

# The worker's notes stand under this one key of `data`, apart from the keys of callers.
NOTES_KEY = "syftnotify"

LabelIndex = dict[str, Labels]  # by entity


class Section(StrEnum):
    """A part of the worker's notes: a JSON object in `data.syftnotify`."""

    FIRST = "first"  # entity -> "<kind>=<occurrence hash> ...": the occurrences that labels without one stand for
    RERUNS = "reruns"  # entity -> {submission id: number of the run}
    END_MARKS = "ends"  # entity -> the fields of an `EndMark`
    UNREADABLE = "undecided"  # entity -> true: the baseline scan could not read it
    VANISHED = "vanished"  # entity -> when it reappeared, in seconds since 1970; 0: it has not
    PEER_ROUNDS = "peer_rounds"  # entity -> the fields of a `PeerRound`
    EMITTED = "emitted"  # event key -> true: a notification is owed
    OUTBOX = "outbox"  # "progress" -> the totals of the outbox
    BASELINES = "first_look"  # scope -> when its baseline scan finished, as ISO time
    REVISION = "edition"  # "is" -> [file id, number of saves, number of labels]
    OCCURRENCES = "occurrences"  # what older versions wrote in place of FIRST: entity -> {kind: occurrence}


# Sections whose entries a process changes one by one.
_MERGED = [section for section in Section if section not in {Section.REVISION, Section.OCCURRENCES}]


@dataclass(slots=True)
class State:
    """The content of a state file."""

    notified: LabelIndex = field(default_factory=dict)
    owed: LabelIndex = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)  # JSON

    def labels(self, entity: str) -> Labels:
        """The labels of an entity, notified and owed."""
        return (*self.notified.get(entity, ()), *self.owed.get(entity, ()))

    def count_labels(self) -> int:
        """The number of labels of all entities."""
        return sum(map(len, self.notified.values())) + sum(map(len, self.owed.values()))

    def notes(self, section: Section) -> Mapping[str, Any]:
        """The entries of a section of the notes."""
        notes = self.data.get(NOTES_KEY)
        found = notes.get(section) if isinstance(notes, dict) else None
        return found if isinstance(found, dict) else {}

    def editable_notes(self, section: Section) -> dict[str, Any]:
        """The entries of a section of the notes, for changing them; the section is created if it is missing."""
        notes = self.data.get(NOTES_KEY)
        if not isinstance(notes, dict):
            notes = self.data[NOTES_KEY] = {}
        found: dict[str, Any] = notes.setdefault(section.value, {})
        return found

    def set_note(self, section: Section, key: str, value: Any) -> None:
        """Set an entry of a section of the notes; None removes it."""
        _copy_entry(self.editable_notes(section), {} if value is None else {key: value}, key)

    def merge(self, other: State, keys: Iterable[str], data_keys: Iterable[str], pool: LabelPool) -> None:
        """Copy from `other` what it has, or has not, for `keys` of entities and notes and for `data_keys`.

        Labels under `notified` are united, because a label is never taken back there.
        """
        for key in keys:
            if key in other.notified:
                labels = self.notified.get(key, ())
                added = (label for label in other.notified[key] if label not in labels)
                self.notified[key] = pool.intern((*labels, *added))
            _copy_entry(self.owed, other.owed, key)
            for section in _MERGED:
                _copy_entry(self.editable_notes(section), other.notes(section), key)
        for key in data_keys:
            _copy_entry(self.data, other.data, key)


def _copy_entry(target: dict[str, Any], source: Mapping[str, Any], key: str) -> None:
    """Make the entry of `key` the same as in `source`, where it may be missing."""
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)
