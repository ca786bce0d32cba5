"""watchdog only says: look now."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.sources.syftbox.watch.limits import remote_file_system
from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.sources.syftbox.watch.watcher import ChangeWatcher
from tests.support import PATIENCE, Clock, nested, wait_until


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wake(woken: threading.Event) -> Iterator[ChangeWatcher]:
    wake = ChangeWatcher(woken.set)
    yield wake
    wake.stop()


def test_a_written_file_deep_below_wakes(tmp_path: Path, wake: ChangeWatcher, woken: threading.Event) -> None:
    wake.watch([WatchSpec(tmp_path)])
    assert wake.is_watching
    (tmp_path / "inbox" / "ana").mkdir(parents=True)
    assert woken.wait(PATIENCE)
    woken.clear()
    wait_until(lambda: (tmp_path / "inbox" / "ana" / "state.yaml").write_text("x") and woken.wait(0.2))


def test_our_own_look_does_not_wake(tmp_path: Path, wake: ChangeWatcher, woken: threading.Event) -> None:
    (tmp_path / "file").write_text("x")
    wake.watch([WatchSpec(tmp_path)])
    for _ in range(50):
        (tmp_path / "file").read_text()
        list(tmp_path.iterdir())
    assert not woken.is_set()
    (tmp_path / "end").write_text("x")  # the events come in order: nothing before this one woke us
    assert woken.wait(PATIENCE)


def test_the_files_of_a_running_jobs_environment_do_not_wake(
    tmp_path: Path, wake: ChangeWatcher, woken: threading.Event
) -> None:
    (tmp_path / "code" / ".venv").mkdir(parents=True)
    wake.watch([WatchSpec(tmp_path)])
    (tmp_path / "code" / ".venv" / "x.py").write_text("x")
    (tmp_path / "code" / ".venv" / "lib").mkdir()

    assert not woken.wait(0.3)


def test_a_folder_that_vanished_and_came_back_is_watched_again(
    tmp_path: Path, wake: ChangeWatcher, woken: threading.Event
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    wake.watch([WatchSpec(folder)])
    folder.rename(tmp_path / "gone")
    wake.watch([WatchSpec(folder)])
    assert not wake.is_watching
    folder.mkdir()
    wake.watch([WatchSpec(folder)])
    woken.clear()
    (folder / "file").write_text("x")

    assert woken.wait(PATIENCE)


def test_what_cannot_be_watched_is_said_once_however_often_it_is_tried(
    tmp_path: Path, woken: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[float] = []

    def none_left() -> int:
        tried.append(clock.now)
        return 0

    wake = ChangeWatcher(woken.set, max_folders=none_left, monotonic=clock.monotonic)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not wake.watch([WatchSpec(tmp_path)])
            clock.advance(3600)

    assert len(tried) == 3
    assert caplog.text.count("scanning every interval instead") == 1


def in_a_namespace(watches: int, program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where the kernel gives its user no more than so many watches."""
    set_limit = f"echo {watches} > /proc/sys/user/max_inotify_watches"
    namespace = ["unshare", "-Ur", "sh", "-c"]
    try:
        subprocess.run([*namespace, set_limit], capture_output=True, timeout=PATIENCE, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no user namespaces here: {error}")
    command = [*namespace, f'{set_limit} && exec "$0" -c "$1" "$2"', sys.executable, program, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)


PROGRAM = """
import logging, pathlib, sys, time
from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.sources.syftbox.watch.watcher import ChangeWatcher
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
root = pathlib.Path(sys.argv[1])
woken = []
wake = ChangeWatcher(lambda: woken.append(1))
watched = [WatchSpec(root)]
wake.watch(watched)
print("at first", wake.is_watching)
for number in range(30):
    (root / "deep" / f"new-{number}").mkdir()
until = time.monotonic() + 80
while wake.is_watching and not woken and time.monotonic() < until:
    time.sleep(0.01)  # for the first event, never instead of it
while wake.is_watching and time.monotonic() < until:
    wake.watch(watched)
wake.watch(watched)
print("then", wake.is_watching)
"""


@pytest.mark.parametrize(("watches", "at_first"), [(12, True), (2, False)])
def test_the_kernels_limit_is_noticed_at_the_start_and_later(tmp_path: Path, watches: int, at_first: bool) -> None:
    """watchdog itself says nothing when a folder deep below finds no watch any more."""
    (tmp_path / "deep" / "deeper" / "deepest").mkdir(parents=True)
    said = in_a_namespace(watches, PROGRAM, tmp_path).stdout

    assert f"at first {at_first}" in said
    assert "then False" in said
    assert said.count("scanning every interval instead") == 1, said
    assert "watch limit reached" in said


def test_too_many_folders_are_counted_first_and_tried_again_later(
    tmp_path: Path, woken: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tmp_path / f"folder-{number}" for number in range(9)]
    for folder in folders:
        folder.mkdir()
    wake = ChangeWatcher(woken.set, max_folders=lambda: 5, monotonic=clock.monotonic)
    watched = [WatchSpec(tmp_path)]
    with caplog.at_level(logging.WARNING):
        assert not wake.watch(watched)
        for folder in folders[3:]:
            folder.rmdir()
        assert not wake.watch(watched), "counting takes time, and is not done at every look"
        clock.advance(3600)
        assert wake.watch(watched)
    wake.stop()

    assert caplog.text.count("there are more than 5 folders") == 1
    assert "notify.watch: on" in caplog.text


def test_a_tree_that_grows_beyond_what_may_be_watched_is_let_go(
    tmp_path: Path, woken: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    wake = ChangeWatcher(woken.set, max_folders=lambda: 5)
    watched = [WatchSpec(tmp_path)]
    assert wake.watch(watched)
    for number in range(9):
        (tmp_path / f"folder-{number}").mkdir()
    wait_until(lambda: wake.watch(watched) or not wake.is_watching)

    assert "there are more than 5 folders" in caplog.text


def test_what_grew_and_is_gone_asks_for_no_more_watches(
    tmp_path: Path, wake: ChangeWatcher, woken: threading.Event
) -> None:
    wake.watch([WatchSpec(tmp_path)])
    (tmp_path / "folder").mkdir()
    assert woken.wait(PATIENCE)

    assert not wake.watch([])
    assert not wake.watch([])


def test_whoever_asks_for_it_watches_as_much_as_the_system_lets_him(tmp_path: Path, woken: threading.Event) -> None:
    for number in range(9):
        (tmp_path / f"folder-{number}").mkdir()
    wake = ChangeWatcher(woken.set, has_limits=False, max_folders=lambda: 5)
    assert wake.watch([WatchSpec(tmp_path)])
    wake.stop()


def test_a_wake_up_says_where(tmp_path: Path, wake: ChangeWatcher, woken: threading.Event) -> None:
    (tmp_path / "job").mkdir()
    wake.watch([WatchSpec(tmp_path)])
    (tmp_path / "job" / "state.yaml").write_text("x")
    assert woken.wait(PATIENCE)
    places: set[str] = set()
    wait_until(lambda: str(tmp_path / "job" / "state.yaml") in places.union(wake.pop_changed_paths() or ()))

    assert wake.pop_changed_paths() == set()


def test_when_the_kernel_has_dropped_events_it_may_be_anywhere(
    tmp_path: Path, wake: ChangeWatcher, woken: threading.Event
) -> None:
    """watchdog tells of that in its log alone; these are its words."""
    from watchdog.observers import inotify_c

    words = "Inotify queue overflowed; filesystem events were lost"
    assert words in inspect.getsource(inotify_c)
    wake.watch([WatchSpec(tmp_path)])
    assert wake.pop_changed_paths() == set()
    logging.getLogger(inotify_c.__name__).warning(words)

    assert woken.is_set()
    assert wake.pop_changed_paths() is None
    assert wake.pop_changed_paths() == set()


def test_very_many_changes_may_be_anywhere(tmp_path: Path, wake: ChangeWatcher) -> None:
    wake.watch([WatchSpec(tmp_path)])
    for number in range(1100):
        (tmp_path / f"file-{number}").touch()
    wait_until(lambda: wake._changes._is_anywhere)

    assert wake.pop_changed_paths() is None


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("tmpfs / tmpfs rw 0 0\nserver:/x {} nfs4 rw 0 0\n", "nfs4"),
        ("tmpfs / tmpfs rw 0 0\ndrive {} fuse.rclone rw 0 0\n", "fuse.rclone"),
        ("server:/x / nfs rw 0 0\n/dev/sda {} ext4 rw 0 0\n", ""),
        ("/dev/sda / ext4 rw 0 0\nserver:/x {}x nfs rw 0 0\n", ""),
        ("", ""),
        ("server:/x {} nfs rw 0 0\n/dev/sdb /media/me/Müller ext4 rw 0 0\n", "nfs"),
        ("server:/x {} nfs rw 0 0\n/dev/sdb /media/me/a\rb\u2028c ext4 rw 0 0\n", "nfs"),
        ("server:/x {} nfs rw 0 0\n/dev/sdb /media/me/\udcff\\134 ext4 rw 0 0\n", "nfs"),
    ],
)
def test_a_file_system_that_others_write_to_is_known_by_its_mount(tmp_path: Path, mounts: str, kind: str) -> None:
    folder = tmp_path / "my SyftBöx"
    folder.mkdir()
    path = tmp_path / "mounts"
    path.write_bytes(os.fsencode(mounts.format(str(folder).replace(" ", "\\040"))))

    assert remote_file_system(folder, mounts=path) == kind
    assert remote_file_system(folder, mounts=tmp_path / "none") == ""


@pytest.mark.parametrize("has_limits", [True, False])
def test_wake_with_folders_nested_too_deep_watches_none(
    tmp_path: Path, woken: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture, has_limits: bool
) -> None:
    """B8: watchdog walks by recursion; the interval goes on, and later it is tried again."""
    (tmp_path / "job").mkdir()
    wake = ChangeWatcher(woken.set, has_limits=has_limits, monotonic=clock.monotonic)
    watched = [WatchSpec(tmp_path / "job")]
    with nested(tmp_path / "deep", 1100) as where:
        where[0] = where[0].rename(tmp_path / "job" / "deep")
        assert not wake.watch(watched)
        assert not wake.is_watching
    assert "nested more than" in caplog.text
    clock.advance(3600)
    assert wake.watch(watched)
    wake.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_wake_with_deep_folders_that_come_later_tells_the_truth(tmp_path: Path, woken: threading.Event) -> None:
    """B8: it watches, or it is known that it does not; Python 3.12 and later walk without recursion."""
    (tmp_path / "job").mkdir()
    wake = ChangeWatcher(woken.set)
    watched = [WatchSpec(tmp_path / "job")]
    assert wake.watch(watched)
    with nested(tmp_path / "deep", 1100) as where:
        where[0] = where[0].rename(tmp_path / "job" / "deep")
        assert woken.wait(30) or not wake.is_watching
        woken.clear()
        if sys.version_info < (3, 12):
            wait_until(lambda: not wake.is_watching)
            assert not wake.watch(watched)
        wake.watch(watched)
        (tmp_path / "job" / "file").write_text("x")
        assert not wake.is_watching or woken.wait(30)
    wake.stop()


def test_wake_whose_thread_has_ended_starts_again_once(
    tmp_path: Path, woken: threading.Event, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """B8: whatever ended it; at the second time within half an hour the interval is the truth."""
    wake = ChangeWatcher(woken.set, monotonic=clock.monotonic)
    watched = [WatchSpec(tmp_path)]
    assert wake.watch(watched)
    for is_first in (True, False):
        end_reader(wake)
        assert not wake.is_watching
        assert wake.watch(watched) is is_first
        assert wake.is_watching is is_first
    assert "has ended twice" in caplog.text
    clock.advance(3600)
    assert wake.watch(watched)
    wake.stop()


def end_reader(wake: ChangeWatcher) -> None:
    """End one of watchdog's threads, as an error in it would."""
    thread = next(each for each in wake._observer.threads if each is not wake._observer._observer)
    thread.stop()  # type: ignore[attr-defined]  # BaseThread of watchdog
    thread.join(30)
    assert not thread.is_alive()
