"""Read-only, full and unreadable disks under real commands and workers."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home
from tests.mounts import mounted
from tests.other_user import box_open_to_all, give_to_nobody, run_as_other_user
from tests.support import OWNER, Box, mails_in, wait_until
from tests.trees import TREES, Disk, Tree
from tests.workers import SUBMITTED, kill_worker, layout_d, sent, start_worker, submit_pending

HOUR = 3600.0
PAGE = 4096  # bytes of a page of the database, and of the small disk


def watching_worker(box: Box) -> tuple[Tree, int]:
    """A tree with a peer, and the pid of a running worker."""
    tree = TREES["D"](Disk(box.root))
    tree.grant()
    return tree, start_worker(box)


@contextlib.contextmanager
def read_only(home: Home) -> Iterator[None]:
    """Make the home read-only, as after a disk error; files open for writing stay so."""
    with mounted(home.root, "--bind", str(home.root)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(home.root)], check=True, capture_output=True)
        yield


@contextlib.contextmanager
def unprivileged_box() -> Iterator[tuple[Box, Callable[..., subprocess.CompletedProcess[str]]]]:
    """A box of a user who is not root, and a function that runs a command as that user."""
    with box_open_to_all() as box:
        box.clock.now = time.time() - 100

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            if os.geteuid() != 0:
                return box.run_process(*arguments)
            give_to_nobody(box.folder)
            return run_as_other_user(box, *arguments)

        yield box, run


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["state.json", "outbox.db"])
def test_run_once_unreadable_file_loses_nothing(name: str) -> None:
    """X02: as a user without root's privileges."""
    with unprivileged_box() as (box, run):
        tree = layout_d(box)
        tree.grant()
        assert run("run", "--once").returncode == 0
        submit_pending(tree, "survey")
        (box.home.root / name).chmod(0o000)
        refused = run("run", "--once")
        assert refused.returncode == 1
        assert name in refused.stderr
        assert "Permission denied" in refused.stderr
        assert "Traceback" not in refused.stderr
        (box.home.root / name).chmod(0o600)
        assert run("run", "--once").returncode == 0
        assert run("run", "--once").returncode == 0

        assert sent(box.mails()) == SUBMITTED


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--once"),
        *(pytest.param(each, marks=pytest.mark.thorough) for each in [("start",), ("run",), ("restart",)]),
    ],
    ids=" ".join,
)
def test_command_read_only_home_is_exit_one_without_traceback(box: Box, command: tuple[str, ...]) -> None:
    """S16, X02."""
    submit_pending(layout_d(box), "survey")
    with read_only(box.home):
        done = box.notify(*command)
        assert done.returncode == 1, done
        assert str(box.home.root) in done.stderr
        assert "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
        box.notify("status", check=3)
        box.notify("stop", check=3)
    box.notify("run", "--once", check=0)

    assert [mail.sent for mail in box.mails()] == [("digest", "owner", OWNER)]


def test_dry_run_needs_no_writable_home(box: Box) -> None:
    """B07."""
    submit_pending(layout_d(box), "survey")
    with read_only(box.home):
        done = box.notify("run", "--dry-run", check=0)

    assert "1 message would be sent" in done.stdout


@pytest.fixture
def elsewhere(box: Box) -> Path:
    """The Maildir, outside the home and its file system."""
    place = box.folder / "elsewhere"
    box.configure({"transports": {"box": {"type": "maildir", "path": str(place)}}})
    return place


@pytest.mark.thorough
def test_worker_whose_home_turns_read_only_loses_nothing(box: Box, elsewhere: Path) -> None:
    """X01, X02: the worker reports it, runs on, and continues when it can write again."""
    tree, pid = watching_worker(box)
    with read_only(box.home):
        submit_pending(tree, "survey")
        wait_until(lambda: "Read-only file system" in box.home.log.read_text(), what="the error in the log")
        stuck = worker_status.read(box.home)
        assert worker_status.health_problems(stuck, time.time() + 60)
        box.notify("start", check=3)
    wait_until(
        lambda: (worker_status.read(box.home).last_scan_s or 0) > (stuck.last_scan_s or 0) + 2, what="scans continue"
    )
    wait_until(lambda: len(mails_in(elsewhere)) >= 2, what="both mails")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="an empty queue")
    assert worker_lock.holder_pid(box.home) == pid
    box.notify("restart", check=0)
    box.notify("stop", check=0)

    assert sent(mails_in(elsewhere)) == SUBMITTED


def leave_room_in(log: Path) -> None:
    """Fill the last page of the log up to its first byte, so that one more line has space on a full disk.

    The worker must not write meanwhile, so its last line is waited for.
    """
    wait_until(lambda: "started, pid" in log.read_text(), what="the last line of a start")
    with log.open("ab") as file:
        file.write(b"\n" * (PAGE - file.tell() % PAGE + 1))


def fill_up(folder: Path) -> Path:
    """Fill the file system of `folder` to the last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return filler


@pytest.fixture
def small_disk(box: Box) -> Iterator[None]:
    """The home is on a disk of two megabytes."""
    settings = box.home.config.read_bytes()
    with mounted(box.home.root, "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"):
        box.home.config.write_bytes(settings)
        box.home.config.chmod(0o600)  # avoids a warning
        yield
        if worker_lock.is_held(box.home):
            box.notify("stop")


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write everywhere")
def test_worker_whose_home_turns_unwritable_loses_nothing(box: Box, elsewhere: Path) -> None:
    """X01, X02, F5: as the test above, without root."""
    tree, pid = watching_worker(box)
    box.home.root.chmod(0o500)
    try:
        submit_pending(tree, "survey")
        wait_until(lambda: "scan failed" in box.home.log.read_text(), what="a failed scan in the log")
    finally:
        box.home.root.chmod(0o700)
    wait_until(lambda: len(mails_in(elsewhere)) >= 2, what="both mails")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="an empty queue")
    assert worker_lock.holder_pid(box.home) == pid
    box.notify("stop", check=0)

    assert sent(mails_in(elsewhere)) == SUBMITTED


@pytest.mark.thorough
@pytest.mark.usefixtures("small_disk")
def test_worker_whose_disk_fills_up_loses_nothing(box: Box) -> None:
    """X01, X02: home, outbox, ledger, log and mail are all on it."""
    tree, pid = watching_worker(box)
    submit_pending(tree, "before")
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="the first two")
    wait_until(lambda: box.home.log.read_text().count("notification SENT") == 2, what="both in the log")
    leave_room_in(box.home.log)
    filler = fill_up(box.home.root)
    full_since = worker_status.read(box.home).last_scan_s or 0.0
    submit_pending(tree, "survey")
    wait_until(lambda: "scan failed" in box.home.log.read_text(), what="the error in the log")
    assert worker_lock.holder_pid(box.home) == pid
    assert worker_status.health_problems(worker_status.read(box.home), time.time() + 60)
    filler.unlink()
    wait_until(lambda: len(mails_in(box.home.mail)) >= 4, what="the owed mails")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="an empty queue")
    wait_until(lambda: (worker_status.read(box.home).last_scan_s or 0.0) > full_since + 2, what="scans continue")
    assert "full" in str(worker_status.read(box.home).last_error)
    assert worker_lock.holder_pid(box.home) == pid
    box.notify("stop", check=0)

    assert sent(box.mails()) == sorted([*SUBMITTED, *SUBMITTED])


@pytest.mark.thorough
@pytest.mark.usefixtures("small_disk")
def test_worker_killed_on_a_full_disk_loses_nothing(box: Box) -> None:
    """X01, X02: a start without space reports it."""
    tree, pid = watching_worker(box)
    leave_room_in(box.home.log)
    filler = fill_up(box.home.root)
    submit_pending(tree, "survey")
    wait_until(lambda: "scan failed" in box.home.log.read_text(), what="the error in the log")
    kill_worker(box, pid)
    done = box.notify("start")
    assert done.returncode == 1, done
    assert "full" in done.stderr or "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    filler.unlink()
    box.notify("start", check=0)
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="both mails")
    box.notify("stop", check=0)

    assert sent(box.mails()) == SUBMITTED


# If closing a file fails, the standard library leaves it to the garbage collector, where it fails again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_maildir_on_a_full_disk_receives_each_mail_once(box: Box, elsewhere: Path) -> None:
    """X01: no mail is half written."""
    tree = layout_d(box)
    tree.grant()
    box.scan()
    elsewhere.mkdir(exist_ok=True)
    with mounted(elsewhere, "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
        for name in ("cur", "new", "tmp"):
            (elsewhere / name).mkdir(exist_ok=True)
        filler = fill_up(elsewhere)
        submit_pending(tree, "survey")
        box.clock.advance(10)
        box.scan()
        assert mails_in(elsewhere) == []
        filler.unlink()
        box.clock.advance(2 * HOUR)
        box.scan()
        box.clock.advance(2 * HOUR)
        box.scan()

        assert sent(mails_in(elsewhere)) == SUBMITTED


@pytest.mark.thorough
def test_run_once_full_log_device_sends_all_mails(box: Box) -> None:
    """X01: the log is a device like /dev/full."""
    tree = TREES["D"](Disk(box.root))
    tree.grant()
    box.notify("run", "--once", check=0)
    box.home.log.unlink()
    try:
        # Not /dev/full itself, because the worker sets the mode of its log.
        os.mknod(box.home.log, stat.S_IFCHR | 0o600, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("no device can be made here")
    with pytest.raises(OSError, match="No space left"):
        box.home.log.write_text("a line")
    submit_pending(tree, "survey")
    done = box.run_process("run", "--once")

    assert sent(box.mails()) == SUBMITTED
    assert done.returncode == 0, done.stderr
