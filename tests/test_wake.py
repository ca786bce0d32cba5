"""watchdog only says: look now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.observe import Wake, Watched
from tests.support import wait_until


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def wake(woken: threading.Event) -> Iterator[Wake]:
    wake = Wake(woken.set)
    yield wake
    wake.stop()


def test_a_written_file_deep_below_wakes(tmp_path: Path, wake: Wake, woken: threading.Event) -> None:
    wake.watch([Watched(tmp_path)])
    assert wake.is_watching
    (tmp_path / "inbox" / "ana").mkdir(parents=True)
    assert woken.wait(10)
    woken.clear()
    wait_until(lambda: (tmp_path / "inbox" / "ana" / "state.yaml").write_text("x") and woken.wait(0.2))


def test_our_own_look_does_not_wake(tmp_path: Path, wake: Wake, woken: threading.Event) -> None:
    (tmp_path / "file").write_text("x")
    wake.watch([Watched(tmp_path)])
    for _ in range(50):
        (tmp_path / "file").read_text()
        list(tmp_path.iterdir())
    assert not woken.is_set()
    (tmp_path / "end").write_text("x")  # the events come in order: nothing before this one woke us
    assert woken.wait(10)


def test_the_files_of_a_running_jobs_environment_do_not_wake(
    tmp_path: Path, wake: Wake, woken: threading.Event
) -> None:
    (tmp_path / "code" / ".venv").mkdir(parents=True)
    wake.watch([Watched(tmp_path)])
    (tmp_path / "code" / ".venv" / "x.py").write_text("x")
    (tmp_path / "code" / ".venv" / "lib").mkdir()

    assert not woken.wait(0.3)


def test_a_folder_that_vanished_and_came_back_is_watched_again(
    tmp_path: Path, wake: Wake, woken: threading.Event
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    wake.watch([Watched(folder)])
    folder.rename(tmp_path / "gone")
    wake.watch([Watched(folder)])
    assert not wake.is_watching
    folder.mkdir()
    wake.watch([Watched(folder)])
    woken.clear()
    (folder / "file").write_text("x")

    assert woken.wait(10)


def test_what_cannot_be_watched_is_said_once(wake: Wake, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The folder is there when asked and gone when watched: a file instead of a folder fails likewise."""
    path = tmp_path / "file"
    path.write_text("no folder")
    with caplog.at_level(logging.WARNING):
        wake.watch([Watched(path / ".." / "file")])
        wake.watch([Watched(path / ".." / "file")])

    assert caplog.text.count("looking every interval instead") <= 1
    assert not wake.is_watching or caplog.text == ""
