"""The change watcher: a hint that a scan is due, and where."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.sources.syftbox.watch.watcher import ChangeWatcher
from tests.support import TIMEOUT, Clock, nested_folders, wait_until


@pytest.fixture
def changed() -> threading.Event:
    return threading.Event()


@pytest.fixture
def watcher(changed: threading.Event) -> Iterator[ChangeWatcher]:
    watcher = ChangeWatcher(changed.set)
    yield watcher
    watcher.stop()


def test_watcher_reports_a_file_written_deep_below(
    tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event
) -> None:
    watcher.watch([WatchSpec(tmp_path)])
    assert watcher.is_watching
    (tmp_path / "inbox" / "ana").mkdir(parents=True)
    assert changed.wait(TIMEOUT)
    changed.clear()
    wait_until(lambda: (tmp_path / "inbox" / "ana" / "state.yaml").write_text("x") and changed.wait(0.2))


def test_watcher_ignores_reading(tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event) -> None:
    (tmp_path / "file").write_text("x")
    watcher.watch([WatchSpec(tmp_path)])
    for _ in range(50):
        (tmp_path / "file").read_text()
        list(tmp_path.iterdir())
    assert not changed.is_set()
    (tmp_path / "end").write_text("x")  # the events come in order: no event came before this one
    assert changed.wait(TIMEOUT)


def test_watcher_ignores_virtual_environments(tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event) -> None:
    (tmp_path / "code" / ".venv").mkdir(parents=True)
    watcher.watch([WatchSpec(tmp_path)])
    (tmp_path / "code" / ".venv" / "x.py").write_text("x")
    (tmp_path / "code" / ".venv" / "lib").mkdir()

    assert not changed.is_set()
    (tmp_path / "end").write_text("x")  # the events come in order: no event came before this one
    assert changed.wait(TIMEOUT)
    assert watcher.pop_changed_paths() == {str(tmp_path / "end")}


def test_watcher_watches_a_folder_that_came_back(
    tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    watcher.watch([WatchSpec(folder)])
    folder.rename(tmp_path / "gone")
    watcher.watch([WatchSpec(folder)])
    assert not watcher.is_watching
    folder.mkdir()
    watcher.watch([WatchSpec(folder)])
    changed.clear()
    (folder / "file").write_text("x")

    assert changed.wait(TIMEOUT)


def test_watcher_without_watches_warns_once(
    tmp_path: Path, changed: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[float] = []

    def none_left() -> int:
        attempts.append(clock.now)
        return 0

    watcher = ChangeWatcher(changed.set, max_folders=none_left, monotonic=clock.monotonic)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not watcher.watch([WatchSpec(tmp_path)])
            clock.advance(3600)

    assert len(attempts) == 3
    assert caplog.text.count("scanning every interval instead") == 1


def test_watcher_with_too_many_folders_tries_again_later(
    tmp_path: Path, changed: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tmp_path / f"folder-{number}" for number in range(9)]
    for folder in folders:
        folder.mkdir()
    watcher = ChangeWatcher(changed.set, max_folders=lambda: 5, monotonic=clock.monotonic)
    specs = [WatchSpec(tmp_path)]
    with caplog.at_level(logging.WARNING):
        assert not watcher.watch(specs)
        for folder in folders[3:]:
            folder.rmdir()
        assert not watcher.watch(specs), "counting takes time, and is not done at every scan"
        clock.advance(3600)
        assert watcher.watch(specs)
    watcher.stop()

    assert caplog.text.count("there are more than 5 folders") == 1
    assert "notify.watch: on" in caplog.text


def test_watcher_stops_when_the_tree_grows_beyond_the_limit(
    tmp_path: Path, changed: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = ChangeWatcher(changed.set, max_folders=lambda: 5)
    specs = [WatchSpec(tmp_path)]
    assert watcher.watch(specs)
    for number in range(9):
        (tmp_path / f"folder-{number}").mkdir()
    wait_until(lambda: watcher.watch(specs) or not watcher.is_watching)

    assert "there are more than 5 folders" in caplog.text


def test_watcher_with_no_folder_left_asks_for_no_watches(
    tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event
) -> None:
    watcher.watch([WatchSpec(tmp_path)])
    (tmp_path / "folder").mkdir()
    assert changed.wait(TIMEOUT)

    assert not watcher.watch([])
    assert not watcher.watch([])


def test_watcher_without_limits_watches_every_folder(tmp_path: Path, changed: threading.Event) -> None:
    for number in range(9):
        (tmp_path / f"folder-{number}").mkdir()
    watcher = ChangeWatcher(changed.set, has_limits=False, max_folders=lambda: 5)
    assert watcher.watch([WatchSpec(tmp_path)])
    watcher.stop()


def test_watcher_names_the_changed_paths(tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event) -> None:
    (tmp_path / "job").mkdir()
    watcher.watch([WatchSpec(tmp_path)])
    (tmp_path / "job" / "state.yaml").write_text("x")
    assert changed.wait(TIMEOUT)
    paths: set[str] = set()
    wait_until(lambda: str(tmp_path / "job" / "state.yaml") in paths.union(watcher.pop_changed_paths() or ()))

    assert watcher.pop_changed_paths() == set()


def test_watcher_after_dropped_events_names_no_path(
    tmp_path: Path, watcher: ChangeWatcher, changed: threading.Event
) -> None:
    """watchdog reports it only in its log, with this text."""
    from watchdog.observers import inotify_c

    text = "Inotify queue overflowed; filesystem events were lost"
    assert text in inspect.getsource(inotify_c)
    watcher.watch([WatchSpec(tmp_path)])
    assert watcher.pop_changed_paths() == set()
    logging.getLogger(inotify_c.__name__).warning(text)

    assert changed.is_set()
    assert watcher.pop_changed_paths() is None
    assert watcher.pop_changed_paths() == set()


def test_watcher_after_very_many_changes_names_no_path(tmp_path: Path, watcher: ChangeWatcher) -> None:
    watcher.watch([WatchSpec(tmp_path)])
    for number in range(1100):
        (tmp_path / f"file-{number}").touch()
    wait_until(lambda: watcher._changes._is_anywhere)

    assert watcher.pop_changed_paths() is None


@pytest.mark.parametrize("has_limits", [True, False])
def test_watcher_with_folders_nested_too_deep_watches_none(
    tmp_path: Path, changed: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture, has_limits: bool
) -> None:
    """B8: watchdog walks by recursion; scans go on by interval, and later it is tried again."""
    (tmp_path / "job").mkdir()
    watcher = ChangeWatcher(changed.set, has_limits=has_limits, monotonic=clock.monotonic)
    specs = [WatchSpec(tmp_path / "job")]
    with nested_folders(tmp_path / "deep", 1100) as where:
        where[0] = where[0].rename(tmp_path / "job" / "deep")
        assert not watcher.watch(specs)
        assert not watcher.is_watching
    assert "nested more than" in caplog.text
    clock.advance(3600)
    assert watcher.watch(specs)
    watcher.stop()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_watcher_with_deep_folders_made_later_is_honest(tmp_path: Path, changed: threading.Event) -> None:
    """B8: `is_watching` is true only if it is; Python 3.12 and later walk without recursion."""
    (tmp_path / "job").mkdir()
    watcher = ChangeWatcher(changed.set)
    specs = [WatchSpec(tmp_path / "job")]
    assert watcher.watch(specs)
    with nested_folders(tmp_path / "deep", 1100) as where:
        where[0] = where[0].rename(tmp_path / "job" / "deep")
        wait_until(lambda: changed.is_set() or not watcher.is_watching)
        changed.clear()
        if sys.version_info < (3, 12):
            wait_until(lambda: not watcher.is_watching)
            assert not watcher.watch(specs)
        watcher.watch(specs)
        (tmp_path / "job" / "file").write_text("x")
        wait_until(lambda: changed.is_set() or not watcher.is_watching)
    watcher.stop()


def test_watcher_whose_thread_has_ended_restarts_once(
    tmp_path: Path, changed: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """B8: after the second time within half an hour, scans go on by interval."""
    watcher = ChangeWatcher(changed.set, monotonic=clock.monotonic)
    specs = [WatchSpec(tmp_path)]
    assert watcher.watch(specs)
    for is_first in (True, False):
        end_reader(watcher)
        assert not watcher.is_watching
        assert watcher.watch(specs) is is_first
        assert watcher.is_watching is is_first
    assert "has ended twice" in caplog.text
    clock.advance(3600)
    assert watcher.watch(specs)
    watcher.stop()


def end_reader(watcher: ChangeWatcher) -> None:
    """End one of watchdog's threads, as an error in it would."""
    thread = next(each for each in watcher._observer.threads if each is not watcher._observer._observer)
    thread.stop()  # type: ignore[attr-defined]  # BaseThread of watchdog
    thread.join(30)
    assert not thread.is_alive()
