"""The state file in memory, with the changes that are not saved yet."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syftnotify.store.ledger.labels import LabelPool
from syftnotify.store.ledger.state import LabelIndex, Section, State
from syftnotify.store.ledger.state_file import StateFile
from syftnotify.system.failpoints import reached
from syftnotify.system.paths import expand_path


class SharedState:
    """A state file in memory, shared with every other process that writes the file.

    A save first merges what others wrote, under a lock, so that no process overwrites the changes of another.
    Changes are in memory until `save`.

    Args:
        path: the JSON file; `~` is expanded, missing folders are created by the first save.

    Raises:
        StateError: (from any method) the file cannot be read or written, or a newer version wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.lock = threading.RLock()  # reentrant: held for several calls that belong together
        self.content = State()
        self._pool = LabelPool()
        self._file = StateFile(expand_path(path), self._pool)
        # What is not saved yet.
        self._changed: set[str] = set()  # entities, and other keys of notes
        self._changed_data: set[str] = set()  # keys of `data`
        self._is_restored = False  # from the backup, and not saved since
        self._needs_new_id = False  # see `invalidate_revision`
        self.refresh()

    @property
    def corruption(self) -> str:
        """What was wrong with the file when it was last found corrupt; empty if it never was."""
        return self._file.corruption

    @property
    def read_count(self) -> int:
        """The number of times the file was read. It grows when another process wrote the file."""
        return self._file.read_count

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return bool(self._changed or self._changed_data or self._is_restored or self._needs_new_id)

    @property
    def revision(self) -> tuple[str, int] | None:
        """The id of the state file and the number of its saves. None before the first save and after an edit by hand.

        The scan cache is valid for later saves of the same id only. `invalidate_revision` gives the file another one.
        """
        found = None if self._needs_new_id else self.content.notes(Section.REVISION).get("is")
        return (found[0], found[1]) if found else None

    def invalidate_revision(self) -> None:
        """Give the file a new id at the next save, because an event that was recorded must be detected again."""
        self._needs_new_id = True

    def refresh(self) -> None:
        """Read the file if another process wrote it, and apply the unsaved changes. Costs one `stat` otherwise."""
        with self.lock:
            if not self._file.is_modified():
                return
            unsaved = self.content
            self.content, is_restored = self._file.read()
            self._is_restored = self._is_restored or is_restored
            self.content.merge(unsaved, self._changed, self._changed_data, self._pool)

    def save(self) -> None:
        """Write all changes, merged with what others wrote. Does nothing if there are none."""
        with self.lock:
            if not self.is_changed:
                return
            with self._file.writing():
                self.refresh()
                name, count = self.revision or (os.urandom(8).hex(), 0)
                self.content.set_note(Section.REVISION, "is", [name, count + 1, self.content.count_labels()])
                self._file.write(self.content)
            self._changed, self._changed_data = set(), set()
            self._is_restored = self._needs_new_id = False
        reached("ledger.saved")

    def add_notified(self, entity: str, label: str) -> None:
        """Add a label of `entity` under `notified`."""
        with self.lock:
            self._add(self.content.notified, entity, label)

    def add_owed(self, entity: str, label: str) -> None:
        """Add a label of `entity` under `owed`."""
        with self.lock:
            self._add(self.content.owed, entity, label)

    def remove_owed(self, entity: str, label: str) -> None:
        """Remove a label of `entity` from `owed`."""
        with self.lock:
            labels = self.content.owed.get(entity, ())
            if label not in labels:
                return
            self._changed.add(entity)
            if remaining := tuple(each for each in labels if each != label):
                self.content.owed[entity] = self._pool.intern(remaining)
            else:
                del self.content.owed[entity]

    def notes(self, section: Section) -> Mapping[str, Any]:
        """The entries of a section of the notes."""
        return self.content.notes(section)

    def set_note(self, section: Section, key: str, value: Any) -> None:
        """Set an entry of a section of the notes to a JSON value; None removes it."""
        with self.lock:
            self.content.set_note(section, key, value)
            self._changed.add(key)

    def set_data(self, key: str, value: Any) -> None:
        """Set an entry of `data` to a JSON value."""
        with self.lock:
            self.content.data[key] = value
            self._changed_data.add(key)

    def _add(self, index: LabelIndex, entity: str, label: str) -> None:
        labels = index.get(entity, ())
        if label not in labels:
            index[entity] = self._pool.intern((*labels, label))
            self._changed.add(entity)
