"""The state file: damage, loss, and versions."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import StateError
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.labels import LabelPool, Labels
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.store.ledger.state_file import StateFile


@pytest.fixture
def state(path: Path) -> JsonStateManager:
    """A state file with two marks, and its copy with the first."""
    state = JsonStateManager(path)
    state.mark_notified("a", "new")
    state.mark_notified("b", "new")
    return state


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"version": 1, "notified": []}', b"\x00" * 100, b'{"a": 1}']
)
def test_damaged_state_file_is_quarantined_and_the_copy_used(
    path: Path, state: JsonStateManager, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """X02"""
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        ledger = Ledger(path)

    assert ledger.has_events("a")
    assert "damaged" in ledger.corruption
    assert "state.json.bak" in caplog.text
    quarantined = [each for each in path.parent.iterdir() if ".damaged-" in each.name]
    assert [each.read_bytes() for each in quarantined] == [content]
    JsonStateManager(path).mark_notified("c", "new")
    assert set(json.loads(path.read_bytes())["notified"]) >= {"a", "c"}


def test_deleted_state_file_is_restored_from_the_copy(path: Path, state: JsonStateManager) -> None:
    """X02"""
    path.unlink()

    assert JsonStateManager(path).was_notified("a", "new")
    assert state.was_notified("a", "new")


def test_deleted_state_file_without_a_copy_starts_empty(path: Path, state: JsonStateManager) -> None:
    for file in path.parent.iterdir():
        file.unlink()

    assert not JsonStateManager(path).was_notified("a", "new")


def test_state_file_of_a_newer_version_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"version": 2, "notified": {}}')

    with pytest.raises(StateError, match="newer version"):
        JsonStateManager(path)
    assert json.loads(path.read_bytes())["version"] == 2


class _WritingPool(LabelPool):
    """Another process writes the file while this one decodes it."""

    def __init__(self, writer: JsonStateManager) -> None:
        super().__init__()
        self._writers = [writer]

    def intern(self, labels: Any) -> Labels:
        while self._writers:
            self._writers.pop().mark_notified("c", "new")
        return super().intern(labels)


def test_write_by_another_process_during_a_read_is_noticed(path: Path, state: JsonStateManager) -> None:
    file = StateFile(path, _WritingPool(state))

    first, _ = file.read()
    assert "c" not in first.notified

    assert file.is_modified()
    second, _ = file.read()
    assert "c" in second.notified
    assert not file.is_modified()
