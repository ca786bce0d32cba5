"""`notify status` for status files written by the tests, in this process."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.core.text import iso
from syftnotify.system import worker_lock, worker_status
from tests.support import OWNER, Box
from tests.workers import status_json

ESCAPE = "\x1b"


def test_status_counts_messages_and_notifications(box: Box) -> None:
    """B10, A13, C1: with what is delayed, held, withheld and dead."""
    worker_status.write(
        box.home,
        worker_status.WorkerStatus(
            sent=3,
            notifications=2002,
            waiting=1,
            delayed=30,
            withheld=4,
            unknown=2,
            held=1,
            dead=5,
            unacknowledged=5,
            ended="stopped",
        ),
    )

    shown = " ".join(box.notify("status", check=3).stdout.split())  # lines are folded at the terminal's width

    assert "messages 3 sent (2002 notifications), 1 waiting, 5 dead" in shown
    assert "30 jobs of submitters with more than 100 events a minute: detected later" in shown
    assert "2 attempts of unknown outcome: the message may have arrived" in shown
    assert "1 message of these held; run `notify dead-letters` for the ids, `notify resend ID...` to send them" in shown
    assert "4 messages withheld; run `notify history --state withheld` for the reasons" in shown
    assert "run `notify dead-letters` for the list, `notify resend --all-dead` to send them again" in shown


def test_status_file_is_a_pipe_is_ignored(box: Box) -> None:
    """D9."""
    os.mkfifo(box.home.worker_status)

    assert "not running" in box.notify("status", check=3).stdout


def test_status_prints_local_times_and_utc_in_json(box: Box, in_zone: Callable[[str], None]) -> None:
    """F6."""
    in_zone("IST-5:30")
    long_ago = 1_700_000_000.0
    with worker_lock.acquire(box.home):
        last_scan = {"at": iso(long_ago), "seconds": 0.1}
        report = worker_status.WorkerStatus(
            pid=os.getpid(), started_at=iso(long_ago), last_scan_s=long_ago, last_scan=last_scan
        )
        worker_status.write(box.home, report)
        output = box.notify("status", check=4).stdout
        status = status_json(box)

    assert output.count("2023-11-15 03:43:20+05:30") == 2, output
    assert status["started_at"] == status["last_scan"]["at"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(("interval", "silence", "code"), [(60, 100, 0), (60, 200, 4)], ids=str)
def test_status_overdue_scan_is_exit_four(box: Box, interval: float, silence: float, code: int) -> None:
    """S16: the boundaries are in tests/unit/system/test_worker_status.py."""
    with worker_lock.acquire(box.home):
        report = worker_status.WorkerStatus(pid=os.getpid(), interval=interval, last_scan_s=time.time() - silence)
        worker_status.write(box.home, report)

        done = box.notify("status", check=code)

    assert ("no scan for" in done.stdout + done.stderr) == (code == 4)


def test_status_lock_held_without_report_is_starting(box: Box) -> None:
    """B12: the report of another pid is ignored."""
    worker_status.write(box.home, worker_status.WorkerStatus(pid=1, jobs=7, sent=9, ended="stopped"))

    with worker_lock.acquire(box.home):
        status = status_json(box)

    assert (status["phase"], status["pid"], status["jobs"], status["sent"]) == ("starting", os.getpid(), 0, 0)


def test_status_shows_an_error_of_several_lines_with_its_time(box: Box) -> None:
    """D11."""
    status = worker_status.WorkerStatus(last_error=f"one\ntwo {ESCAPE}[31m", last_error_at="2026-11-20T12:00:00+00:00")
    worker_status.write(box.home, status)

    shown = box.notify("status", check=3).stdout

    assert "\\n" not in shown
    assert "two \\x1b[31m" in shown
    assert re.search(r"last error +2026-11-2\d ", shown)


@pytest.mark.parametrize("command", [("start",), ("run", "--once"), ("status",), ("stop",), ("logs",)])
def test_command_home_is_a_file_fails_without_traceback(tmp_path: Path, command: tuple[str, ...]) -> None:
    """S16."""
    box = Box(tmp_path)
    home = tmp_path / "file"
    home.write_text("mine\n")

    done = box.notify("--home", str(home), *command)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert home.read_text() == "mine\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write everywhere")
@pytest.mark.parametrize("command", [("start",), ("run", "--once")])
def test_command_unwritable_home_fails_without_traceback(box: Box, command: tuple[str, ...]) -> None:
    """S16."""
    box.home.root.chmod(0o500)
    try:
        done = box.notify(*command)
    finally:
        box.home.root.chmod(0o700)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(box.home.root) in done.stderr


@pytest.mark.thorough
def test_start_broken_config_lists_every_mistake(box: Box) -> None:
    """S15, S16, D11."""
    box.home.config.write_text(
        "do_email: nobody\nnotify:\n  intervall: 5\n  monitor_jobs: maybe\n"
        "transports:\n  mail:\n    type: maildir\n    pth: x\n"
    )

    done = box.notify("start", check=2)

    for text in (done.stderr, box.home.log.read_text()):
        assert "config.yaml: 4 errors\n" in text
        assert "\\n" not in text
    assert "do_email: expected a mail address, got 'nobody'" in done.stderr
    assert "notify.intervall: unknown key; did you mean `interval`?" in done.stderr
    assert "notify.monitor_jobs: expected true or false, got 'maybe'" in done.stderr
    assert "transports.mail.pth: unknown key; did you mean `path`?" in done.stderr
    assert box.notify("status").returncode == 3


@pytest.mark.thorough
def test_start_without_config_recommends_init(box: Box) -> None:
    """S15, S16."""
    box.home.config.unlink()

    done = box.notify("start", check=2)

    assert "notify init" in done.stderr


@pytest.mark.thorough
def test_start_without_sign_in_recommends_init(box: Box) -> None:
    """S15, S16: mail never goes to a folder that nobody reads."""
    box.home.config.write_text(f"do_email: {OWNER}\nsyftbox_root: {box.root}\n")

    done = box.notify("start", check=2)

    assert "sign in with `notify init`" in done.stderr
    assert not worker_lock.is_held(box.home)
    assert not box.home.mail.exists()


@pytest.mark.parametrize("content", ["- a list\n", "do_email: nobody\n"])
def test_refused_restart_names_the_configuration_that_applies(box: Box, content: str) -> None:
    """With and without another hint."""
    box.notify("start", check=0)
    box.home.config.write_text(content)

    hint = box.notify("restart", check=2).stderr.splitlines()[-1]
    assert hint.endswith("the worker continues with the previous configuration")
    assert not hint.startswith("  ;")
    assert worker_lock.is_held(box.home)
