"""One worker per home, also when its lock file is removed or the file system has no locks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.system import worker_lock, worker_status
from syftnotify.system.files import file_lock, is_lockable
from syftnotify.system.procinfo import is_worker
from tests.support import Box, wait_until, without_blanks


def started(box: Box) -> int:
    box.notify("start", check=0)
    pid = worker_lock.holder(box.home)
    assert pid is not None
    return pid


def suspended(box: Box, lose: Callable[[Path], None]) -> int:
    """A worker that lost its lock and has not noticed: it never comes to its next scan."""
    pid = started(box)
    os.kill(pid, signal.SIGSTOP)
    lose(box.home.lock)
    return pid


def remove(lock: Path) -> None:
    lock.unlink()


def empty(lock: Path) -> None:
    lock.unlink()
    lock.touch()


def copy_back(lock: Path) -> None:
    aside = lock.with_name("aside")
    lock.rename(aside)
    shutil.copyfile(aside, lock)


LOSSES = [remove, empty, copy_back]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda each: each.__name__)
def test_commands_agree_while_the_lock_file_is_lost(box: Box, lose: Callable[[Path], None]) -> None:
    """B7: no second worker, and the first one is named, shown as unhealthy and can be stopped."""
    pid = suspended(box, lose)

    for words in (("start",), ("run",), ("run", "--once")):
        assert f"pid {pid}" in box.notify(*words, check=3).stderr, words
    ensured = box.notify("ensure", check=0)
    status = box.notify("status", "--json", check=4)

    assert (ensured.stdout, ensured.stderr) == ("", "")
    found = json.loads(status.stdout)
    assert (found["running"], found["pid"], found["phase"]) == (True, pid, "running")
    assert "its lock file was removed or replaced: run `notify restart`" in found["unwell"]
    assert f"(pid {pid})" in box.notify("stop", "--timeout", "0.3", check=1).stderr
    assert not worker_lock.is_held(box.home)


def test_worker_whose_lock_file_was_emptied_is_found_by_its_report(box: Box) -> None:
    """B7"""
    box.notify("start", check=0)
    pid = worker_lock.holder(box.home)
    box.home.lock.write_text("")

    assert f"pid {pid}" in box.notify("stop", check=0).stdout


@pytest.mark.parametrize("lose", LOSSES, ids=lambda each: each.__name__)
def test_restart_replaces_a_worker_whose_lock_file_is_lost(box: Box, lose: Callable[[Path], None]) -> None:
    """B7: what status recommends works."""
    pid = suspended(box, lose)

    box.notify("restart", "--timeout", "0.3", check=0)

    assert worker_lock.holder(box.home) != pid
    box.notify("status", check=0)


def worker_program(box: Box) -> subprocess.Popen[bytes]:
    """The worker as systemd runs it."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "syftnotify.worker", "--home", str(box.home.root)],
        env=box.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def has_scanned(box: Box) -> bool:
    return worker_status.read(box.home).last_scan_s is not None


@pytest.mark.parametrize("lose", LOSSES, ids=lambda each: each.__name__)
def test_worker_stops_at_the_next_scan_after_losing_its_lock(box: Box, lose: Callable[[Path], None]) -> None:
    """B7: exit code 1, which systemd answers with a new worker."""
    worker = worker_program(box)
    try:
        wait_until(lambda: has_scanned(box), what="a scan")
        lose(box.home.lock)

        assert worker.wait(60) == 1
    finally:
        worker.kill()
        worker.wait()
    assert "worker.lock was removed or replaced" in box.home.log.read_text()
    assert json.loads(box.notify("status", "--json", check=3).stdout)["phase"] == "stopped"
    started(box)


def test_worker_leaves_the_home_to_another_that_holds_the_new_lock(box: Box) -> None:
    """B7: exit code 3, which systemd does not answer with a restart; the other one's report stays."""
    worker = worker_program(box)
    try:
        wait_until(lambda: has_scanned(box), what="a scan")
        box.home.lock.unlink()
        with file_lock(box.home.lock, seconds=10) as held:
            assert held
            worker_status.write(box.home, worker_status.WorkerStatus(pid=os.getpid(), version="another"))

            assert worker.wait(60) == 3, box.home.log.read_text()
            assert worker_status.read(box.home).version == "another"
    finally:
        worker.kill()
        worker.wait()


def test_foreground_worker_without_lock_file_is_found_by_its_environment(box: Box) -> None:
    """B7: its command line names no home."""
    worker = box.begin("run", stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: has_scanned(box), what="a scan")
        worker.send_signal(signal.SIGSTOP)
        box.home.lock.unlink()

        assert f"pid {worker.pid}" in box.notify("start", check=3).stderr
    finally:
        worker.kill()
        worker.communicate(timeout=60)


def test_pid_of_an_old_report_that_is_no_worker_here_prevents_no_start(box: Box) -> None:
    """B7: process ids are used again, also by the worker of another home."""
    other = Box(Path(f"{box.home.root}x"))  # whose path begins with that of this home
    other.folder.mkdir()
    other.root.mkdir()
    other.configure()
    pid = started(other)
    try:
        worker_status.write(box.home, worker_status.WorkerStatus(pid=pid))
        assert is_worker(pid, other.home.root)
        assert not is_worker(pid, box.home.root)

        started(box)
    finally:
        other.notify("stop", check=0)


# -- file systems without locks ------------------------------------------------------------------------------------

PRELOAD = """
#include <errno.h>
int flock(int descriptor, int operation) {
    (void)descriptor; (void)operation;
    if (REASON == 0) return 0;
    errno = REASON;
    return -1;
}
"""
REASONS = {"no-op": 0, "ENOSYS": errno.ENOSYS, "ENOLCK": errno.ENOLCK, "EOPNOTSUPP": errno.EOPNOTSUPP}


@pytest.fixture(params=[*REASONS])
def lockless(box: Box, request: pytest.FixtureRequest) -> Box:
    """A box for whose processes the system call answers as on a file system without locks."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and LD_PRELOAD")
    library, source = without_blanks(box.folder) / "flock.so", box.folder / "flock.c"
    source.write_text(PRELOAD)
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-DREASON={REASONS[request.param]}", "-o", str(library), str(source)],
        check=True,
    )
    box.env["LD_PRELOAD"] = str(library)
    return box


@pytest.mark.parametrize("words", [("start",), ("run",), ("run", "--once"), ("ensure",)], ids=" ".join)
def test_home_without_working_locks_is_refused(lockless: Box, words: tuple[str, ...]) -> None:
    """B7: exit code 2, so that systemd does not try again and again."""
    done = lockless.notify(*words, check=2)

    assert f"file locks do not work in {lockless.home.root}" in done.stderr
    assert "`notify --home DIR`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in lockless.home.root.iterdir() if path.name.startswith(".")]


def test_state_file_without_working_locks_is_refused(lockless: Box) -> None:
    """B7: two writers would overwrite each other."""
    program = (
        "from syftnotify import JsonStateManager\n"
        "from syftnotify.core import errors\n"
        "try: JsonStateManager('state.json').mark_notified('job', 'new')\n"
        "except errors.StateError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=lockless.folder,
        env={**os.environ, **lockless.env},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(f"file locks do not work in {lockless.folder}")
    assert not (lockless.folder / "state.json").exists()


def test_folder_is_lockable_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    """B7."""
    assert is_lockable(tmp_path)
    assert list(tmp_path.iterdir()) == []
