"""Starting, restarting and observing the worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from syftnotify.services.demo import Tree as DemoTree
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import file_lock
from tests.support import ANA, OWNER, TIMEOUT, Box, wait_until
from tests.workers import (
    CODE,
    SUBMITTED,
    demo_tree,
    sent_mails,
    start_worker,
    status_json,
    wait_for_scans,
    worker_pid,
    worker_process,
)

STATUS_KEYS = {
    *("running", "pid", "started_at", "version", "home", "root", "jobs", "peers", "last_scan", "waiting", "sent"),
    *("failed", "unknown", "dead", "last_error", "transports"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, str]]:
    """A box whose worker has sent one mail about one job, and what `notify start` printed."""
    box = Box(tmp_path_factory.mktemp("running"))
    box.root.mkdir()
    box.configure(notify={"interval": 3600, "watch": "on"})
    demo_tree(box).submit(ANA, "survey", CODE)
    output = box.notify("start", check=0).stdout
    wait_until(box.mails, what="the first mail")
    yield box, output
    box.notify("stop", check=0)


def test_start_returns_when_the_worker_has_scanned(running: tuple[Box, str]) -> None:
    """S16, G20."""
    box, output = running

    status = status_json(box)

    assert worker_lock.is_held(box.home)
    assert status["last_scan"]["at"] is not None
    assert f"(pid {status['pid']})" in output
    assert "scheduler_online" in box.home.log.read_text()


def test_worker_has_a_session_of_its_own(running: tuple[Box, str]) -> None:
    """S16: no terminal and none of the pipes of `notify start`."""
    pid = worker_pid(running[0])

    assert os.getsid(pid) == pid


def test_start_of_a_second_worker_is_refused(running: tuple[Box, str]) -> None:
    """S16: the error names the pid of the first."""
    box, _ = running
    pid = worker_pid(box)

    done = box.notify("start", check=3)

    assert f"pid {pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert worker_pid(box) == pid


def test_status_of_a_running_worker_is_complete(running: tuple[Box, str]) -> None:
    """S16."""
    box, _ = running
    wait_until(lambda: worker_status.read(box.home).sent == len(box.mails()) > 0, what="every mail is counted")

    status = status_json(box)

    assert status.keys() >= STATUS_KEYS
    assert status["running"] is True
    assert status["pid"] == worker_pid(box)
    assert status["home"] == str(box.home.root)
    assert status["root"] == str(box.root)
    assert (status["jobs"], status["peers"]) == (len({mail.entities[0] for mail in box.mails()}), 1)
    assert [status[key] for key in ("waiting", "failed", "unknown", "dead")] == [0] * 4
    assert status["sent"] == len(box.mails())
    assert status["last_error"] is None
    assert status["transports"]["box"]["type"] == "maildir"
    assert datetime.fromisoformat(status["started_at"]) <= datetime.now(UTC)
    assert status["last_scan"]["seconds"] >= 0


def test_status_of_a_suspended_worker_is_unhealthy(running: tuple[Box, str]) -> None:
    """S16."""
    box, _ = running
    pid = worker_pid(box)
    os.kill(pid, signal.SIGSTOP)
    before = box.home.worker_status.read_bytes()
    try:
        report = worker_status.read(box.home)
        report.last_scan_s = time.time() - 20_000
        worker_status.write(box.home, report)
        done = box.notify("status", check=4)
        assert "running, unhealthy" in done.stdout
    finally:
        box.home.worker_status.write_bytes(before)
        os.kill(pid, signal.SIGCONT)


def test_restart_with_a_broken_config_keeps_the_worker(running: tuple[Box, str]) -> None:
    """B07: a typing mistake does not stop the notifications."""
    box, _ = running
    pid, config = worker_pid(box), box.home.config.read_bytes()
    box.home.config.write_text("do_email: nobody\n")
    try:
        box.notify("restart", check=2)
    finally:
        box.home.config.write_bytes(config)

    assert worker_pid(box) == pid


def test_worker_scans_after_a_change_and_ignores_sighup(running: tuple[Box, str]) -> None:
    """S05, S16: the interval is an hour; SIGHUP is sent when a terminal closes."""
    box, _ = running
    pid, known = worker_pid(box), len(box.mails())

    os.kill(pid, signal.SIGHUP)
    DemoTree(box.root, box.snapshot).submit(ANA, "second", CODE)

    wait_until(lambda: len(box.mails()) == known + 2, what="both mails")
    assert worker_pid(box) == pid


def test_restart_applies_the_config_and_repeats_no_mail(box: Box) -> None:
    """B07, S15, S16, C10: until then `status` reports the difference; it repeats the warnings of the start."""
    tree = demo_tree(box)
    pid = start_worker(box)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: sent_mails(box) == SUBMITTED, what="both mails")
    box.configure({"routes": []})
    status = box.notify("status", check=0)
    assert "changed since" in status.stdout + status.stderr

    done = box.notify("restart", check=0)

    new = status_json(box)
    status = box.notify("status", check=0)
    assert "changed since" not in status.stdout + status.stderr
    assert new["pid"] not in {None, pid}
    assert f"pid {pid}" in done.stdout
    assert f"pid {new['pid']}" in done.stdout
    assert [each for each in new["notices"] if each.startswith("routes: the list is empty")]
    box.notify("stop", check=0)
    assert sent_mails(box) == SUBMITTED


@pytest.mark.thorough
def test_restart_without_a_worker_starts_one(box: Box) -> None:
    """B07."""
    done = box.notify("restart", check=0)

    assert "no worker was running" in done.stdout
    assert worker_lock.is_held(box.home)


@pytest.mark.thorough
def test_start_warns_about_filters_and_a_second_notifier(
    box: Box, other_programs: list[subprocess.Popen[bytes]]
) -> None:
    """S15, S16."""
    other_programs.append(subprocess.Popen(["sleep", "60"]))
    pid_file = box.folder / ".syft-bg" / "notify" / "daemon.pid"
    pid_file.parent.mkdir(parents=True)
    pid_file.write_text(f"{other_programs[0].pid}\n")
    box.configure(notify={"monitor_jobs": False})

    done = box.notify("start", check=0)

    assert "monitor_jobs is false" in done.stderr
    assert f"pid {other_programs[0].pid}" in done.stderr
    assert "syft-bg" in done.stderr


def test_worker_switched_off_sends_nothing_and_reports_it(box: Box) -> None:
    """G01."""
    box.configure(notify={"enabled": False})
    tree = demo_tree(box)
    done = box.notify("start", check=0)
    assert "nothing is sent" in done.stderr

    tree.submit(ANA, "survey", CODE)

    wait_until(lambda: worker_status.read(box.home).jobs == 1, what="the job is found")
    wait_for_scans(box)
    status = box.notify("status", check=0)
    assert "nothing is sent" in status.stdout + status.stderr
    box.notify("stop", check=0)
    assert box.mails() == []
    report = worker_status.read(box.home)
    assert (report.sent, report.waiting) == (0, 0)


@pytest.mark.thorough
def test_worker_scans_after_the_first_job_ever(box: Box) -> None:
    """S05: the job folder appears with the first job."""
    box.configure(notify={"interval": 3600, "watch": "on", "monitor_peers": False})
    start_worker(box)
    wait_until(lambda: worker_status.read(box.home).watching, what="the parent of the job folder is watched")

    demo_tree(box).submit(ANA, "survey", CODE)

    wait_until(lambda: sent_mails(box) == SUBMITTED, what="both mails")


@pytest.mark.thorough
def test_worker_without_watching_polls(box: Box) -> None:
    """S05."""
    box.configure(notify={"watch": "off"})
    tree = demo_tree(box)
    start_worker(box)
    assert worker_status.read(box.home).watching is False

    tree.submit(ANA, "survey", CODE)

    wait_until(lambda: sent_mails(box) == SUBMITTED, what="both mails")


def test_worker_waits_for_a_root_that_does_not_exist_yet(box: Box) -> None:
    """B08: `start` succeeds, `status` names the root, and the first scan follows its creation."""
    box.root.rmdir()
    box.notify("start", check=0)
    status = box.notify("status", check=0)
    assert str(box.root) in status.stdout
    assert "does not exist yet" in status.stdout

    box.snapshot.parent.mkdir(parents=True)
    tree = DemoTree(box.folder / "prepared", box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    tree.submit(ANA, "survey", CODE)
    (box.folder / "prepared").rename(box.root)  # so that the first scan finds the job

    [mail] = wait_until(box.mails, what="the digest of the first scan")
    assert mail.to == OWNER
    assert "survey" in mail.text
    wait_until(lambda: not worker_status.read(box.home).waiting_for, what="the root was found")
    assert worker_status.read(box.home).jobs == 1


def test_status_during_the_first_scan_shows_progress(box: Box) -> None:
    """B12: without figures of the worker before."""
    tree = demo_tree(box)
    for name in ("one", "two", "three"):
        tree.submit(ANA, name, CODE)
    box.scan()
    worker_status.write(box.home, worker_status.WorkerStatus(pid=1, jobs=3, sent=9, last_scan_s=1.0, ended="stopped"))

    with file_lock(box.home.state.with_name("state.json.lock"), seconds=10) as held:
        assert held  # so that the scan reads every job and cannot finish
        tree.submit(ANA, "four", CODE)
        worker = worker_process(box)
        wait_until(lambda: worker_status.read(box.home).scanned == 4, what="four jobs are read")
        done = box.notify("status", check=0)
        status = status_json(box)
    wait_until(lambda: worker_status.read(box.home).phase == "running", what="the end of the first scan")

    assert f"starting: scanned 4 of 4 jobs (pid {status['pid']})" in done.stdout
    assert (status["phase"], status["progress"]) == ("starting", {"scanned": 4, "total": 4})
    assert status["pid"] not in {None, 1}
    assert (status["sent"], status["last_scan"]["at"]) == (0, None)
    status = status_json(box)
    assert (status["phase"], status["progress"]) == ("running", None)
    box.notify("stop", check=0)
    assert worker.wait(TIMEOUT) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("has_mail", [True, False], ids=["something to send", "nothing to send"])
def test_status_transport_that_cannot_sign_in_is_exit_four(box: Box, has_mail: bool) -> None:
    """S16: whether or not a mail is queued."""
    box.configure({"transports": {"mail": {"type": "gmail"}}})
    box.home.token.write_text("{}")
    if has_mail:
        demo_tree(box).submit(ANA, "survey", CODE)
    box.notify("start", check=0)

    done = wait_until(lambda: (found := box.notify("status")).returncode == 4 and found, what="status 4")

    assert "transport mail" in done.stdout + done.stderr
    assert "notify init" in done.stdout + done.stderr


@pytest.mark.thorough
def test_status_damaged_state_is_exit_four(box: Box) -> None:
    """S13, S16."""
    box.home.state.write_bytes(b'{"version": 1, "notif')
    box.notify("start", check=0)

    done = box.notify("status", check=4)

    assert "damaged" in done.stdout + done.stderr
