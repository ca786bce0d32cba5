"""`JsonStateManager`: the ledger for Python users."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson

from syftnotify.store.ledger.labels import json_text, label_of
from syftnotify.store.ledger.shared_state import SharedState
from syftnotify.store.ledger.state import NOTES_KEY


class JsonStateManager:
    """Records which entities were notified of which events, and any other JSON data, in a file.

    Several processes can use the same file at the same time, and it can be the file of a running worker.

    Args:
        state_file: the JSON file; `~` is expanded, missing folders are created by the first change.

    Raises:
        StateError: (from any method) the file cannot be read or written, or a newer version wrote it.
    """

    def __init__(self, state_file: str | Path) -> None:
        self._state = SharedState(state_file)

    def was_notified(self, entity_id: str, event_type: str) -> bool:
        """Whether `entity_id` was notified of `event_type` (`new`, `approved`, `executed`, or any other string)."""
        entity, label = json_text(entity_id), label_of(json_text(event_type))
        with self._state.lock:
            self._state.refresh()
            return label in self._state.content.notified.get(entity, ())

    def mark_notified(self, entity_id: str, event_type: str) -> None:
        """Record that `entity_id` was notified of `event_type`, and save the file."""
        entity, label = json_text(entity_id), label_of(json_text(event_type))
        with self._state.lock:
            self._state.add_notified(entity, label)
            self._state.save()

    def get_data(self, key: str, default: Any = None) -> Any:
        """A copy of the JSON value of `key`; `default` if there is none."""
        name = json_text(key)
        with self._state.lock:
            self._state.refresh()
            data = self._state.content.data
            return copy.deepcopy(data[name]) if name in data else default

    def set_data(self, key: str, value: Any) -> None:
        """Set the JSON value of `key`, and save the file.

        Raises:
            TypeError: `value` is not JSON.
            ValueError: `key` is `syftnotify`, which the worker uses.
        """
        stored, name = orjson.loads(orjson.dumps(value)), json_text(key)
        if name == NOTES_KEY:
            raise ValueError(f"the key {NOTES_KEY!r} is reserved for the worker; use another one")
        with self._state.lock:
            self._state.set_data(name, stored)
            self._state.save()
