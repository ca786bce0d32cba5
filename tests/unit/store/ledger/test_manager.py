"""`JsonStateManager`: marks and data of Python users in the state file."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import StateError
from syftnotify.store.ledger.manager import JsonStateManager


def notified(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))["notified"]


def test_mark_notified_survives_a_restart(path: Path) -> None:
    """S13"""
    state = JsonStateManager(path)
    assert not state.was_notified("job_123", "new")
    state.mark_notified("job_123", "new")

    assert JsonStateManager(str(path)).was_notified("job_123", "new")
    assert not JsonStateManager(path).was_notified("job_123", "approved")
    assert not JsonStateManager(path).was_notified("job_124", "new")


@pytest.mark.parametrize(
    ("label", "kind"), [("new", "job_submitted"), ("approved", "job_approved"), ("executed", "job_completed")]
)
def test_mark_notified_treats_short_labels_and_kinds_as_equal(path: Path, label: str, kind: str) -> None:
    state = JsonStateManager(path)
    state.mark_notified("one", label)
    state.mark_notified("two", kind)

    assert state.was_notified("one", kind)
    assert state.was_notified("two", label)
    assert notified(path) == {"one": [label], "two": [label]}


def test_mark_notified_accepts_any_text(path: Path) -> None:
    """Also file names that are not UTF-8."""
    JsonStateManager(path).mark_notified("job_\udcff", "my own: event\n")

    assert JsonStateManager(path).was_notified("job_\udcff", "my own: event\n")
    assert not JsonStateManager(path).was_notified("job_\udcfe", "my own: event\n")


@pytest.mark.parametrize("name", [123, None, b"x"])
def test_mark_notified_refuses_what_is_not_text(path: Path, name: Any) -> None:
    state = JsonStateManager(path)
    with pytest.raises(TypeError):
        state.mark_notified(name, "new")
    state.mark_notified("a", "new")

    assert JsonStateManager(path).was_notified("a", "new")


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}], {"deep": {"list": [1.5, True]}}])
def test_set_data_keeps_any_json(path: Path, value: Any) -> None:
    """S14"""
    JsonStateManager(path).set_data("key", value)
    reopened = JsonStateManager(path)

    assert reopened.get_data("key", "default") == value
    assert reopened.get_data("other", "default") == "default"
    assert reopened.get_data("other") is None


def test_set_data_refuses_what_is_not_json(path: Path) -> None:
    state = JsonStateManager(path)
    state.set_data("key", 1)
    with pytest.raises(TypeError):
        state.set_data("key", object())

    assert JsonStateManager(path).get_data("key") == 1


def test_set_data_refuses_the_key_of_the_worker(path: Path) -> None:
    """Without its notes the worker would consider its ledger lost."""
    with pytest.raises(ValueError, match="reserved"):
        JsonStateManager(path).set_data("syftnotify", {})

    assert not path.exists()


def test_get_data_returns_a_copy(path: Path) -> None:
    state = JsonStateManager(path)
    state.set_data("list", [1])
    state.get_data("list").append(2)

    assert state.get_data("list") == [1]


def test_manager_expands_the_tilde_in_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    JsonStateManager("~/s.json").mark_notified("a", "new")

    assert (tmp_path / "s.json").exists()


def test_manager_reports_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match="cannot be"):
        JsonStateManager(tmp_path / "file" / "state.json").mark_notified("a", "new")


def test_managers_of_one_file_keep_the_changes_of_each_other(path: Path) -> None:
    one, two = JsonStateManager(path), JsonStateManager(path)
    one.mark_notified("a", "new")
    two.mark_notified("b", "new")
    one.set_data("k", 1)
    two.set_data("l", 2)

    for state in (one, two, JsonStateManager(path)):
        assert state.was_notified("a", "new")
        assert state.was_notified("b", "new")
        assert (state.get_data("k"), state.get_data("l")) == (1, 2)


def mark_several(path: Path, name: str, count: int = 8) -> None:
    state = JsonStateManager(path)
    for number in range(count):
        state.mark_notified(f"{name}-{number}", "new")


def test_managers_in_several_threads_lose_no_changes(path: Path) -> None:
    threads = [threading.Thread(target=mark_several, args=(path, f"thread{number}")) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(notified(path)) == 24
