"""One worker per home, also when its lock file is lost or the file system has no locks."""

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
from syftnotify.system.locks import file_lock
from syftnotify.system.procinfo import is_worker
from tests.support import TIMEOUT, Box, path_without_spaces, wait_until
from tests.workers import has_scanned, start_worker, worker_process

pytestmark = pytest.mark.check_only


def suspended_worker(box: Box, lose: Callable[[Path], None]) -> int:
    """The pid of a suspended worker that lost its lock and cannot detect it."""
    pid = start_worker(box)
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


@pytest.mark.parametrize(
    "lose",
    [remove, *(pytest.param(each, marks=pytest.mark.thorough) for each in LOSSES[1:])],
    ids=lambda each: each.__name__,
)
def test_commands_find_a_worker_whose_lock_file_is_lost(box: Box, lose: Callable[[Path], None]) -> None:
    """B7, S16: no second worker starts; the first is named, shown as unhealthy and can be stopped."""
    pid = suspended_worker(box, lose)

    for arguments in (("start",), ("run",), ("run", "--once")):
        assert f"pid {pid}" in box.notify(*arguments, check=3).stderr, arguments
    ensured = box.notify("ensure", check=0)
    status = box.notify("status", "--json", check=4)

    assert (ensured.stdout, ensured.stderr) == ("", "")
    found = json.loads(status.stdout)
    assert (found["running"], found["pid"], found["phase"]) == (True, pid, "running")
    assert "the lock file was removed or replaced; run `notify restart`" in found["unwell"]
    stopped = box.notify("stop", "--timeout", "0.3", check=1)
    assert f"(pid {pid})" in stopped.stderr
    assert "killed" in stopped.stderr
    assert not worker_lock.is_held(box.home)


@pytest.mark.thorough
def test_stop_finds_a_worker_with_an_empty_lock_file(box: Box) -> None:
    """B7."""
    box.notify("start", check=0)
    pid = worker_lock.holder_pid(box.home)
    box.home.lock.write_text("")

    assert f"pid {pid}" in box.notify("stop", check=0).stdout


@pytest.mark.thorough
@pytest.mark.parametrize("lose", LOSSES, ids=lambda each: each.__name__)
def test_restart_replaces_a_worker_whose_lock_file_is_lost(box: Box, lose: Callable[[Path], None]) -> None:
    """B7: as `status` recommends."""
    pid = suspended_worker(box, lose)

    box.notify("restart", "--timeout", "0.3", check=0)

    assert worker_lock.holder_pid(box.home) != pid
    box.notify("status", check=0)


@pytest.mark.parametrize(
    "lose",
    [remove, *(pytest.param(each, marks=pytest.mark.thorough) for each in LOSSES[1:])],
    ids=lambda each: each.__name__,
)
def test_worker_stops_at_the_scan_after_losing_its_lock(box: Box, lose: Callable[[Path], None]) -> None:
    """B7: exit code 1, after which systemd starts a new one."""
    worker = worker_process(box)
    try:
        wait_until(lambda: has_scanned(box), what="a scan")
        lose(box.home.lock)

        assert worker.wait(TIMEOUT) == 1
    finally:
        worker.kill()
        worker.wait()
    assert "worker.lock was removed or replaced" in box.home.log.read_text()
    assert json.loads(box.notify("status", "--json", check=3).stdout)["phase"] == "stopped"


@pytest.mark.thorough
def test_worker_stops_if_another_holds_the_new_lock(box: Box) -> None:
    """B7: exit code 3, after which systemd starts none; the report of the other stays."""
    worker = worker_process(box)
    try:
        wait_until(lambda: has_scanned(box), what="a scan")
        box.home.lock.unlink()
        with file_lock(box.home.lock, seconds=10) as held:
            assert held
            worker_status.write(box.home, worker_status.WorkerStatus(pid=os.getpid(), version="another"))

            assert worker.wait(TIMEOUT) == 3, box.home.log.read_text()
            assert worker_status.read(box.home).version == "another"
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.thorough
def test_start_finds_a_foreground_worker_by_its_environment(box: Box) -> None:
    """B7: its command line names no home."""
    worker = box.start_process("run", stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: has_scanned(box), what="a scan")
        worker.send_signal(signal.SIGSTOP)
        box.home.lock.unlink()

        assert f"pid {worker.pid}" in box.notify("start", check=3).stderr
    finally:
        worker.kill()
        worker.communicate(timeout=60)


@pytest.mark.thorough
def test_start_ignores_the_worker_of_another_home(box: Box) -> None:
    """B7: pids are reused, also by the worker of another home."""
    other = Box(Path(f"{box.home.root}x"))  # whose path begins with that of this home
    other.folder.mkdir()
    other.root.mkdir()
    other.configure()
    pid = start_worker(other)
    try:
        worker_status.write(box.home, worker_status.WorkerStatus(pid=pid))
        assert is_worker(pid, other.home.root)
        assert not is_worker(pid, box.home.root)

        start_worker(box)
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


@pytest.fixture(
    params=[reason if reason == "ENOLCK" else pytest.param(reason, marks=pytest.mark.thorough) for reason in REASONS]
)
def lockless(box: Box, request: pytest.FixtureRequest) -> Box:
    """A box in whose processes flock(2) fails as on a file system without locks."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and LD_PRELOAD")
    library, source = path_without_spaces(box.folder) / "flock.so", box.folder / "flock.c"
    source.write_text(PRELOAD)
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-DREASON={REASONS[request.param]}", "-o", str(library), str(source)],
        check=True,
    )
    box.env["LD_PRELOAD"] = str(library)
    return box


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--once"),
        *(pytest.param(each, marks=pytest.mark.thorough) for each in [("start",), ("run",), ("ensure",)]),
    ],
    ids=" ".join,
)
def test_home_without_working_locks_is_exit_two(lockless: Box, arguments: tuple[str, ...]) -> None:
    """B7: so that systemd does not restart the worker again and again."""
    done = lockless.notify(*arguments, check=2)

    assert f"file locks do not work in {lockless.home.root}" in done.stderr
    assert "`notify --home DIR`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in lockless.home.root.iterdir() if path.name.startswith(".")]


@pytest.mark.thorough
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
