"""The worker as a process: started, looked at, killed, stopped; always the real command and real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.text import iso, iso_to_local
from syftnotify.runtime import process
from syftnotify.services.demo import Tree
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import file_lock
from tests.support import ANA, OWNER, PATIENCE, Box, Sent, wait_until, workers_of

STATUS_KEYS = {
    "running",
    "pid",
    "started_at",
    "version",
    "home",
    "root",
    "jobs",
    "peers",
    "last_scan",
    "waiting",
    "sent",
    "failed",
    "unknown",
    "dead",
    "last_error",
    "transports",
}
SUBMITTED: list[Sent] = [("job_submitted", "owner", OWNER), ("job_submitted", "submitter", ANA)]


def tree_of(box: Box) -> Tree:
    """The box's tree, with ana as a peer: the job folder exists."""
    box.snapshot.parent.mkdir(parents=True, exist_ok=True)
    box.root.mkdir(exist_ok=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def configure(box: Box, **notify: Any) -> None:
    box.configure({"notify": {"interval": 1, "sync_state_path": str(box.snapshot), **notify}})


def status_of(box: Box) -> dict[str, Any]:
    told = json.loads(box.notify("status", "--json").stdout)
    assert isinstance(told, dict)
    return told


def started(box: Box) -> int:
    """Start the worker with the real command; its pid."""
    words = box.notify("start", check=0).stdout
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    assert f"(pid {pid})" in words
    return pid


def counts(box: Box) -> tuple[int, int]:
    """What the worker says of itself: mails sent, mails waiting."""
    report = worker_status.read(box.home)
    return report.sent, report.waiting


def told(box: Box) -> list[Sent]:
    return sorted(mail.told for mail in box.mails())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that have nothing to do with us; ended by the fixture."""
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for sleeper in found:
        sleeper.kill()
        sleeper.wait()


# -- start -----------------------------------------------------------------------------------------------------------


def test_start_returns_when_the_worker_holds_its_lock_and_has_looked(box: Box) -> None:
    """S16, G20."""
    box.configure()

    done = box.notify("start", check=0)

    status = status_of(box)
    assert worker_lock.is_held(box.home)
    assert status["last_scan"]["at"] is not None
    assert f"pid {status['pid']}" in done.stdout
    assert "scheduler_online" in box.home.log.read_text()


def test_the_worker_leaves_its_starter_behind(box: Box) -> None:
    """S16: a session of its own, no terminal, none of the starter's pipes."""
    pid = started(box)

    assert os.getsid(pid) == pid


def test_a_second_start_is_refused_and_names_the_first(box: Box) -> None:
    """S16."""
    pid = started(box)

    done = box.notify("start", check=3)

    assert f"pid {pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert worker_lock.holder_pid(box.home) == pid


def test_nobody_who_only_asks_is_taken_for_a_worker(box: Box) -> None:
    """S16: looking whether the lock is held must not look like holding it."""
    started(box)
    box.notify("stop", check=0)

    with ThreadPoolExecutor(4) as pool:
        lies = sum(pool.map(lambda _: sum(worker_lock.is_held(box.home) for _ in range(200)), range(4)))

    assert lies == 0


def test_start_with_a_broken_config_lists_every_mistake(box: Box) -> None:
    """S15, S16."""
    box.home.config.write_text(
        "do_email: nobody\nnotify:\n  intervall: 5\n  monitor_jobs: maybe\n"
        "transports:\n  mail:\n    type: maildir\n    pth: x\n"
    )

    done = box.notify("start", check=2)

    assert "4 errors" in done.stderr
    assert "do_email: expected a mail address, got 'nobody'" in done.stderr
    assert "notify.intervall: unknown key; did you mean `interval`?" in done.stderr
    assert "notify.monitor_jobs: expected true or false, got 'maybe'" in done.stderr
    assert "transports.mail.pth: unknown key; did you mean `path`?" in done.stderr
    assert box.notify("status").returncode == 3


def test_start_without_a_configuration_says_who_writes_one(box: Box) -> None:
    """S15, S16."""
    box.home.config.unlink()

    done = box.notify("start", check=2)

    assert "notify init" in done.stderr


def test_start_without_a_sign_in_says_how_to_sign_in(box: Box) -> None:
    """S15, S16: never into a folder nobody reads."""
    box.home.config.write_text(f"do_email: {OWNER}\nsyftbox_root: {box.root}\n")

    done = box.notify("start", check=2)

    assert "sign in with `notify init`" in done.stderr
    assert not worker_lock.is_held(box.home)
    assert not box.home.mail.exists()


@pytest.mark.parametrize("command", [("start",), ("run",), ("run", "--once"), ("status",), ("stop",), ("logs",)])
def test_a_home_that_cannot_be_a_folder_is_said_without_a_traceback(tmp_path: Path, command: tuple[str, ...]) -> None:
    """S16."""
    box = Box(tmp_path)
    home = tmp_path / "file"
    home.write_text("mine\n")

    done = box.notify("--home", str(home), *command)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert home.read_text() == "mine\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("command", [("start",), ("run", "--once")])
def test_a_home_that_cannot_be_written_is_said_without_a_traceback(box: Box, command: tuple[str, ...]) -> None:
    """S16."""
    box.home.root.chmod(0o500)
    try:
        done = box.notify(*command)
    finally:
        box.home.root.chmod(0o700)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(box.home.root) in done.stderr


def test_start_warns_when_nobody_would_hear_of_jobs(box: Box) -> None:
    """S15."""
    configure(box, monitor_jobs=False)

    done = box.notify("start", check=0)

    assert "monitor_jobs is false" in done.stderr


def test_start_warns_when_syft_bg_mails_too(box: Box, sleepers: list[subprocess.Popen[bytes]]) -> None:
    """S16."""
    sleepers.append(subprocess.Popen(["sleep", "60"]))
    pid_file = box.folder / ".syft-bg" / "notify" / "daemon.pid"
    pid_file.parent.mkdir(parents=True)
    pid_file.write_text(f"{sleepers[0].pid}\n")

    done = box.notify("start", check=0)

    assert f"pid {sleepers[0].pid}" in done.stderr
    assert "syft-bg" in done.stderr


# -- looking ---------------------------------------------------------------------------------------------------------


def test_a_change_in_the_tree_wakes_the_worker_long_before_its_interval(box: Box) -> None:
    """S05: the interval is an hour, and the mail is there at once."""
    configure(box, interval=3600, watch="on")
    tree = tree_of(box)
    started(box)

    tree.submit(ANA, "survey", "print(1)\n")

    wait_until(lambda: told(box) == SUBMITTED, what="both mails")


def test_the_first_job_ever_wakes_the_worker_too(box: Box) -> None:
    """S05: nobody has a job folder before the first job arrives."""
    configure(box, interval=3600, watch="on", monitor_peers=False)
    started(box)
    wait_until(
        lambda: worker_status.read(box.home).watching, what="the place where the first job would appear is watched"
    )

    tree_of(box).submit(ANA, "survey", "print(1)\n")

    wait_until(lambda: told(box) == SUBMITTED, what="both mails")


def test_polling_alone_is_enough(box: Box) -> None:
    """S05."""
    configure(box, watch="off")
    tree = tree_of(box)
    started(box)
    assert worker_status.read(box.home).watching is False

    tree.submit(ANA, "survey", "print(1)\n")

    wait_until(lambda: told(box) == SUBMITTED, what="both mails")


def test_a_root_that_does_not_exist_yet_is_waited_for(box: Box) -> None:
    """B08: start succeeds, status says what is missing, and the first look happens when it appears."""
    box.root.rmdir()
    box.notify("start", check=0)
    status = box.notify("status", check=0)
    assert str(box.root) in status.stdout
    assert "does not exist yet" in status.stdout

    tree_of(box).submit(ANA, "survey", "print(1)\n")

    [mail] = wait_until(box.mails, what="the catch-up")
    assert mail.to == OWNER
    assert "survey" in mail.text
    wait_until(lambda: not worker_status.read(box.home).waiting_for, what="nothing is waited for")
    assert worker_status.read(box.home).jobs == 1


def test_status_counts_messages_items_and_what_is_delayed_or_withheld(box: Box) -> None:
    """B10, A13, C1"""
    worker_status.write(
        box.home,
        worker_status.WorkerStatus(
            sent=3, notifications=2002, waiting=1, delayed=30, withheld=4, unknown=2, held=1, dead=5, ended="stopped"
        ),
    )

    shown = " ".join(box.notify("status", check=3).stdout.split())  # lines are folded at the terminal's width

    assert "messages 3 sent (2002 notifications), 1 waiting, 5 dead" in shown
    assert "30 jobs of submitters with more than 100 events a minute: detected later" in shown
    assert "2 attempts of unknown outcome: the message may have arrived" in shown
    assert "1 message of these held; run `notify resend` to send them again" in shown
    assert "4 messages withheld; run `notify history --state withheld` for the reasons" in shown
    assert "run `notify dead-letters` for the list, `notify resend` to send them again" in shown


def test_status_does_not_wait_for_a_report_that_is_a_pipe(box: Box) -> None:
    """D9"""
    os.mkfifo(box.home.worker_status)

    assert "not running" in box.notify("status", check=3).stdout


def test_status_repeats_the_warnings_about_the_configuration(box: Box) -> None:
    """C10: whoever missed those of the start sees them later."""
    box.configure({"routes": []})
    started(box)

    assert [each for each in status_of(box)["notices"] if each.startswith("routes: the list is empty")]


def test_losing_the_terminal_is_nothing_to_the_worker(box: Box) -> None:
    """S16: SIGHUP."""
    tree = tree_of(box)
    pid = started(box)

    os.kill(pid, signal.SIGHUP)
    tree.submit(ANA, "survey", "print(1)\n")

    wait_until(lambda: told(box) == SUBMITTED, what="both mails")
    assert worker_lock.holder_pid(box.home) == pid


def test_switched_off_it_sends_nothing_and_says_so(box: Box) -> None:
    """G01."""
    configure(box, enabled=False)
    tree = tree_of(box)
    done = box.notify("start", check=0)
    assert "nothing is sent" in done.stderr
    before = worker_status.read(box.home).last_scan_s or 0.0

    tree.submit(ANA, "survey", "print(1)\n")

    wait_until(lambda: worker_status.read(box.home).jobs == 1, what="a later look")
    wait_until(lambda: (worker_status.read(box.home).last_scan_s or 0.0) > before + 1, what="and one more")
    status = box.notify("status", check=0)
    assert "nothing is sent" in status.stdout + status.stderr
    box.notify("stop", check=0)
    assert box.mails() == []
    assert counts(box) == (0, 0)


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_tells_all_of_a_running_worker(box: Box) -> None:
    """S16."""
    tree_of(box).submit(ANA, "survey", "print(1)\n")
    pid = started(box)
    wait_until(lambda: counts(box) == (1, 0), what="the catch-up is counted")

    status = status_of(box)

    assert status.keys() >= STATUS_KEYS
    assert status["running"] is True
    assert status["pid"] == pid
    assert status["home"] == str(box.home.root)
    assert status["root"] == str(box.root)
    assert (status["jobs"], status["peers"]) == (1, 1)
    assert (status["waiting"], status["sent"], status["failed"], status["unknown"], status["dead"]) == (0, 1, 0, 0, 0)
    assert status["last_error"] is None
    assert status["transports"]["box"]["type"] == "maildir"
    assert datetime.fromisoformat(status["started_at"]) <= datetime.now(UTC)
    assert status["last_scan"]["seconds"] >= 0


def test_status_prints_times_in_the_local_zone(box: Box) -> None:
    """F6: in JSON they stay UTC."""
    box.env["TZ"] = "IST-5:30"
    long_ago = 1_700_000_000.0
    with worker_lock.acquire(box.home):
        last_scan = {"at": iso(long_ago), "seconds": 0.1}
        report = worker_status.WorkerStatus(
            pid=os.getpid(), started_at=iso(long_ago), last_scan_s=long_ago, last_scan=last_scan
        )
        worker_status.write(box.home, report)
        said = box.notify("status", check=4).stdout
        status = status_of(box)

    assert said.count("2023-11-15 03:43:20+05:30") == 2, said
    assert status["started_at"] == status["last_scan"]["at"] == "2023-11-14T22:13:20Z"


def test_status_says_when_the_configuration_is_not_the_one_in_use(box: Box) -> None:
    """S15, S16."""
    started(box)

    with box.home.config.open("a") as file:
        file.write("# a thought\n")
    status = box.notify("status", check=0)

    assert "changed since" in status.stdout + status.stderr
    box.notify("restart", check=0)
    status = box.notify("status", check=0)
    assert "changed since" not in status.stdout + status.stderr


@pytest.mark.parametrize(("interval", "silence", "code"), [(1, 2, 0), (1, 40, 4), (60, 100, 0), (60, 200, 4)], ids=str)
def test_a_worker_is_unwell_after_three_intervals_without_a_look(
    box: Box, interval: float, silence: float, code: int
) -> None:
    """S16: and never sooner than after 30 s."""
    with worker_lock.acquire(box.home):
        report = worker_status.WorkerStatus(pid=os.getpid(), interval=interval, last_scan_s=time.time() - silence)
        worker_status.write(box.home, report)

        done = box.notify("status", check=code)

    assert ("no scan for" in done.stdout + done.stderr) == (code == 4)


def test_a_worker_that_hangs_is_unwell(box: Box) -> None:
    """S16."""
    pid = started(box)
    os.kill(pid, signal.SIGSTOP)
    try:
        report = worker_status.read(box.home)
        report.last_scan_s = time.time() - 3600
        worker_status.write(box.home, report)
        done = box.notify("status", check=4)
        assert "running, unhealthy" in done.stdout
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("owes", [True, False], ids=["something to send", "nothing to send"])
def test_a_transport_that_cannot_sign_in_is_unwell(box: Box, owes: bool) -> None:
    """S16: whether or not a mail waits for it."""
    box.configure({"transports": {"mail": {"type": "gmail"}}})
    box.home.token.write_text("{}")
    if owes:
        tree_of(box).submit(ANA, "survey", "print(1)\n")
    box.notify("start", check=0)

    done = wait_until(lambda: (found := box.notify("status")).returncode == 4 and found, what="status 4")

    assert "transport mail" in done.stdout + done.stderr
    assert "notify init" in done.stdout + done.stderr


def test_a_damaged_state_is_unwell(box: Box) -> None:
    """S13, S16."""
    box.home.state.write_bytes(b'{"version": 1, "notif')
    box.notify("start", check=0)

    done = box.notify("status", check=4)

    assert "damaged" in done.stdout + done.stderr


# -- ending ----------------------------------------------------------------------------------------------------------


def test_stop_ends_the_worker_and_says_how(box: Box) -> None:
    """S16."""
    pid = started(box)

    done = box.notify("stop", check=0)

    assert f"pid {pid}" in done.stdout
    assert not worker_lock.is_held(box.home)
    wait_until(lambda: not workers_of(box), what="no worker is left")
    assert "worker stopped" in box.home.log.read_text()
    status = status_of(box)
    assert (status["running"], status["pid"]) == (False, None)


def test_stop_when_another_worker_starts_at_once_leaves_that_one_alone(box: Box) -> None:
    """B7"""
    pid = started(box)
    others: list[int] = []

    def start_another(_seconds: float) -> None:
        if not others:
            wait_until(lambda: pid not in workers_of(box), what="the first worker has ended")
            others.append(started(box))

    stopped = process.stop(box.home, sleep=start_another)

    assert (stopped.pid, stopped.killed) == (pid, False)
    assert [worker_lock.holder_pid(box.home)] == others == workers_of(box)


@pytest.mark.parametrize("ran", [True, False])
def test_stop_without_a_worker_is_exit_three(box: Box, ran: bool) -> None:
    """S16."""
    if ran:
        started(box)
        box.notify("stop", check=0)

    done = box.notify("stop", check=3)

    assert "no worker is running" in done.stderr


def test_a_worker_that_does_not_end_in_time_is_killed_and_that_is_said(box: Box) -> None:
    """S16."""
    pid = started(box)
    os.kill(pid, signal.SIGSTOP)

    done = box.notify("stop", "--timeout", "0.3", check=1)

    assert "killed" in done.stderr
    assert not worker_lock.is_held(box.home)


def test_killed_it_is_seen_as_gone_and_tells_nothing_twice(box: Box) -> None:
    """S13, S16."""
    tree = tree_of(box)
    pid = started(box)
    tree.submit(ANA, "survey", "print(1)\n")
    wait_until(lambda: counts(box) == (2, 0), what="both are sent")

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not worker_lock.is_held(box.home), what="the lock is free")

    assert "not running" in box.notify("status", check=3).stdout
    assert status_of(box)["pid"] is None
    begun = started(box)
    assert begun != pid
    tree.approve(ANA, "survey")
    wait_until(lambda: len(told(box)) > 2, what="the approval")
    box.notify("stop", check=0)
    assert told(box) == [("job_approved", "submitter", ANA), *SUBMITTED]


def test_status_after_a_kill_names_the_last_report(box: Box) -> None:
    """B12: also for machines; a start and a stop end that."""
    pid = started(box)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not worker_lock.is_held(box.home), what="the lock is free")
    moment = iso(worker_status.read(box.home).reported_s or 0.0)

    done = box.notify("status", check=3)
    status = status_of(box)

    assert f"not running; ended without stopping at {iso_to_local(moment)}" in done.stdout
    assert (status["running"], status["phase"], status["killed_at"]) == (False, "killed", moment)
    started(box)
    assert status_of(box)["phase"] == "running"
    box.notify("stop", check=0)
    status = status_of(box)
    assert (status["phase"], status["killed_at"]) == ("stopped", None)


def test_status_after_a_start_that_failed_is_not_that_of_a_kill(box: Box) -> None:
    """B12: the worker reports before it opens the outbox, and ends in order when it cannot."""
    box.home.outbox.mkdir()
    box.notify("start", check=1)

    assert "ended without" not in box.notify("status", check=3).stdout
    assert status_of(box)["phase"] == "stopped"


def test_status_during_the_first_scan_shows_its_progress(box: Box) -> None:
    """B12: beside the new pid stand no figures of the worker before."""
    tree = tree_of(box)
    for name in ("one", "two", "three"):
        tree.submit(ANA, name, "print(1)\n")
    before = started(box)
    wait_until(lambda: counts(box) == (1, 0), what="the catch-up is counted")
    box.notify("stop", check=0)

    with file_lock(box.home.state.with_name("state.json.lock"), seconds=10) as held:
        assert held  # so that the scan reads every job, and cannot be finished
        tree.submit(ANA, "four", "print(1)\n")
        starting = box.begin("start")
        wait_until(lambda: worker_status.read(box.home).scanned == 4, what="four jobs are read")
        done = box.notify("status", check=0)
        status = status_of(box)
    assert starting.wait(60) == 0
    starting.communicate()

    assert f"starting: scanned 4 of 4 jobs (pid {status['pid']})" in done.stdout
    assert (status["phase"], status["progress"]) == ("starting", {"scanned": 4, "total": 4})
    assert status["pid"] not in {None, before}
    assert (status["sent"], status["last_scan"]["at"]) == (0, None)
    status = status_of(box)
    assert (status["phase"], status["progress"]) == ("running", None)


def test_worker_that_holds_the_lock_and_has_not_reported_is_starting(box: Box) -> None:
    """B12: the report of another pid is not its own."""
    worker_status.write(box.home, worker_status.WorkerStatus(pid=1, jobs=7, sent=9, ended="stopped"))

    with worker_lock.acquire(box.home):
        status = status_of(box)

    assert (status["phase"], status["pid"], status["jobs"], status["sent"]) == ("starting", os.getpid(), 0, 0)


def test_first_scan_without_progress_for_ten_minutes_is_unhealthy() -> None:
    """B12: a start that hangs does not look like one that takes long."""
    report = worker_status.WorkerStatus(phase=worker_status.Phase.STARTING, reported_s=1000.0)

    assert worker_status.health_problems(report, 1500.0) == []
    assert worker_status.health_problems(report, 1700.0) == ["the first scan has made no progress for 700 s"]


def test_restart_is_another_worker_that_tells_nothing_twice(box: Box) -> None:
    """B07."""
    tree = tree_of(box)
    pid = started(box)
    tree.submit(ANA, "survey", "print(1)\n")
    wait_until(lambda: told(box) == SUBMITTED, what="both mails")

    done = box.notify("restart", check=0)

    status = status_of(box)
    assert status["pid"] not in {None, pid}
    assert f"pid {pid}" in done.stdout
    assert f"pid {status['pid']}" in done.stdout
    box.notify("stop", check=0)
    assert told(box) == SUBMITTED


def test_restart_without_a_worker_starts_one(box: Box) -> None:
    """B07."""
    done = box.notify("restart", check=0)

    assert "no worker was running" in done.stdout
    assert worker_lock.is_held(box.home)


def test_a_restart_that_could_not_start_again_leaves_the_worker_alone(box: Box) -> None:
    """B07: a typing mistake must not end in silence."""
    pid = started(box)
    box.home.config.write_text("do_email: nobody\n")

    box.notify("restart", check=2)

    assert worker_lock.holder_pid(box.home) == pid


@pytest.mark.parametrize(
    # Programs of others, which must only be there: each is ended by the test.
    "words",
    [["sleep", "60"], [sys.executable, "-c", "import time; time.sleep(60)", "notify.log"]],
)
@pytest.mark.parametrize("held", [True, False], ids=["lock held", "lock free"])
def test_a_pid_that_belongs_to_another_program_is_never_signalled(
    box: Box, sleepers: list[subprocess.Popen[bytes]], words: list[str], held: bool
) -> None:
    """S16: a pid in a file is information, never proof; not even when `notify` stands in that program's arguments."""
    sleepers.append(subprocess.Popen(words))
    if held:
        with worker_lock.acquire(box.home):
            box.home.lock.write_text(f"{sleepers[0].pid}\n")
            done = box.notify("stop", "--timeout", "0.3")
    else:
        box.home.lock.write_text(f"{sleepers[0].pid}\n")
        done = box.notify("stop", "--timeout", "0.3", check=3)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert sleepers[0].poll() is None


# -- sends in flight -------------------------------------------------------------------------------------------------


class SlowGoogle:
    """Takes mail like the Gmail API, but answers only when it is allowed to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.mails = 0
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                google.mails += 1
                google.asked.set()
                google.may_answer.wait(PATIENCE)
                answer = b'{"id": "m1", "threadId": "t1"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's word
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def google(box: Box) -> Iterator[SlowGoogle]:
    google = SlowGoogle()
    box.configure({"transports": {"mail": {"type": "gmail", "api_endpoint": google.url}}})
    token = {
        "token": "access",
        "refresh_token": "refresh",
        "client_id": "client",
        "client_secret": "hush",
        "token_uri": f"{google.url}/token",
        "scopes": ["https://www.googleapis.com/auth/gmail.send"],
        "expiry": "2099-01-01T00:00:00Z",
    }
    box.home.token.write_text(json.dumps(token))
    yield google
    google.may_answer.set()
    google.server.shutdown()
    google.server.server_close()


def test_stop_waits_for_the_mail_that_is_on_its_way(box: Box, google: SlowGoogle) -> None:
    """S16, S17: it is sent once, and counted."""
    tree_of(box).submit(ANA, "survey", "print(1)\n")
    started(box)
    assert google.asked.wait(PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(box.notify, "stop")
        wait_until(lambda: "stopping" in box.home.log.read_text(), what="the worker has heard")
        assert worker_lock.is_held(box.home)
        google.may_answer.set()
        done = stopping.result(PATIENCE)

    assert done.returncode == 0, done.stderr
    assert status_of(box)["sent"] == 1
    started(box)
    box.notify("stop", check=0)
    assert google.mails == 1
