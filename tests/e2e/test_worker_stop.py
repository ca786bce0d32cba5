"""The end of the worker process: stops, kills, and mails in flight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from syftnotify.core.text import iso, iso_to_local
from syftnotify.runtime import process
from syftnotify.system import worker_lock, worker_status
from tests.support import ANA, TIMEOUT, Box, tally, wait_until, workers_of
from tests.workers import CODE, SUBMITTED, demo_tree, kill_worker, outbox_counts, sent_mails, start_worker, status_json


def test_stop_ends_the_worker_and_reports_its_pid(box: Box) -> None:
    """S16."""
    pid = start_worker(box)

    done = box.notify("stop", check=0)

    assert f"pid {pid}" in done.stdout
    assert not worker_lock.is_held(box.home)
    wait_until(lambda: not workers_of(box), what="no worker is left")
    assert "worker stopped" in box.home.log.read_text()
    status = status_json(box)
    assert (status["running"], status["pid"]) == (False, None)
    assert "no worker is running" in box.notify("stop", check=3).stderr


@pytest.mark.thorough
def test_stop_leaves_a_worker_started_meanwhile(box: Box) -> None:
    """B7."""
    pid = start_worker(box)
    others: list[int] = []

    def start_another(_seconds: float) -> None:
        if not others:
            wait_until(lambda: pid not in workers_of(box), what="the first worker has ended")
            others.append(start_worker(box))

    stopped = process.stop(box.home, sleep=start_another)

    assert (stopped.pid, stopped.killed) == (pid, False)
    assert [worker_lock.holder_pid(box.home)] == others == workers_of(box)


@pytest.mark.thorough
def test_stop_kills_a_worker_after_the_timeout(box: Box) -> None:
    """S16."""
    pid = start_worker(box)
    os.kill(pid, signal.SIGSTOP)

    done = box.notify("stop", "--timeout", "0.3", check=1)

    assert "killed" in done.stderr
    assert not worker_lock.is_held(box.home)


def test_killed_worker_is_replaced_and_repeats_no_mail(box: Box) -> None:
    """S13, S16, B12: `status` names its last report until another one is started."""
    tree = demo_tree(box)
    pid = start_worker(box)
    tree.submit(ANA, "survey", CODE)
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="both are sent")

    kill_worker(box, pid)

    moment = iso(worker_status.read(box.home).reported_s or 0.0)
    shown = box.notify("status", check=3).stdout
    status = status_json(box)
    assert f"not running; ended without stopping at {iso_to_local(moment)}" in shown
    assert (status["pid"], status["phase"], status["killed_at"]) == (None, "killed", moment)
    assert start_worker(box) != pid
    tree.approve(ANA, "survey")
    wait_until(lambda: len(sent_mails(box)) > 2, what="the approval")
    assert status_json(box)["phase"] == "running"
    box.notify("stop", check=0)
    status = status_json(box)
    assert (status["phase"], status["killed_at"]) == ("stopped", None)
    assert sent_mails(box) == [("job_approved", "submitter", ANA), *SUBMITTED]


@pytest.mark.thorough
def test_status_after_a_failed_start_is_stopped(box: Box) -> None:
    """B12: the worker reports before it opens the outbox."""
    box.home.outbox.mkdir()
    box.notify("start", check=1)

    assert "ended without" not in box.notify("status", check=3).stdout
    assert status_json(box)["phase"] == "stopped"


@pytest.mark.parametrize(
    # The test ends these programs.
    "arguments",
    [["sleep", "60"], [sys.executable, "-c", "import time; time.sleep(60)", "notify.log"]],
)
@pytest.mark.parametrize("held", [True, False], ids=["lock held", "lock free"])
def test_stop_never_signals_the_pid_of_another_program(
    box: Box, other_programs: list[subprocess.Popen[bytes]], arguments: list[str], held: bool
) -> None:
    """S16: a pid in a file is no proof, not even with `notify` in that program's arguments."""
    other_programs.append(subprocess.Popen(arguments))
    if held:
        with worker_lock.acquire(box.home):
            box.home.lock.write_text(f"{other_programs[0].pid}\n")
            done = box.notify("stop", "--timeout", "0.3")
    else:
        box.home.lock.write_text(f"{other_programs[0].pid}\n")
        done = box.notify("stop", "--timeout", "0.3", check=3)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert other_programs[0].poll() is None


def test_is_held_by_concurrent_queries_is_false(box: Box) -> None:
    """S16: a query of the lock is not mistaken for holding it."""
    with worker_lock.acquire(box.home):
        pass

    with ThreadPoolExecutor(4) as pool:
        errors = sum(pool.map(lambda _: sum(worker_lock.is_held(box.home) for _ in range(200)), range(4)))

    assert errors == 0


class SlowGoogle:
    """A Gmail API that accepts mail and answers when `may_answer` is set."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.may_answer = threading.Event()
        self.mails = 0
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                google.mails += 1
                google.requested.set()
                google.may_answer.wait(TIMEOUT)
                answer = b'{"id": "m1", "threadId": "t1"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the base class
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def slow_google(box: Box) -> Iterator[SlowGoogle]:
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


def test_stop_waits_for_a_mail_in_flight(box: Box, slow_google: SlowGoogle) -> None:
    """S16, S17: it is sent once, and counted."""
    demo_tree(box).submit(ANA, "survey", CODE)
    start_worker(box)
    assert slow_google.requested.wait(TIMEOUT)

    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(box.notify, "stop")
        wait_until(lambda: "stopping" in box.home.log.read_text(), what="the worker has the signal")
        assert worker_lock.is_held(box.home)
        slow_google.may_answer.set()
        done = stopping.result(TIMEOUT)

    assert done.returncode == 0, done.stderr
    assert status_json(box)["sent"] == 1
    assert outbox_counts(box) == tally(sent=1)
    assert slow_google.mails == 1
