"""Several processes that change one file lose no changes of each other."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.system.locks import file_lock


def mark_several(path: Path, name: str) -> None:
    state = JsonStateManager(path)
    for number in range(10):
        state.mark_notified(f"{name}-{number}", "new")


def increment(path: Path, name: str) -> None:
    for _ in range(25):
        with file_lock(path.with_suffix(".lock"), seconds=30) as held:
            assert held
            path.write_text(str(int(path.read_text()) + 1))


def test_state_file_keeps_the_changes_of_several_processes(tmp_path: Path) -> None:
    """S13"""
    path = tmp_path / "state.json"
    process = multiprocessing.get_context("spawn").Process(target=mark_several, args=(path, "other"))
    process.start()
    mark_several(path, "this")
    process.join()

    assert process.exitcode == 0
    assert len(json.loads(path.read_bytes())["notified"]) == 20


@pytest.mark.thorough
def test_file_lock_admits_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=increment, args=(path, str(number))) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert path.read_text() == "75"
