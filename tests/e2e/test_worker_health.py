"""Health of the worker process: failing steps, alerts, pings and daily mails."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from syftnotify.services.demo import Tree as DemoTree
from syftnotify.system import worker_status
from syftnotify.system.files import atomic_write
from tests.fakes.google import SECRET, Google, hang
from tests.health_boxes import alerts, heartbeats, write_sign_in
from tests.support import ANA, TIMEOUT, Box, wait_until
from tests.workers import (
    CODE,
    EchoServer,
    PingServer,
    configure,
    start_worker,
    status_with_code,
    wait_for_scans,
)

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0


def modification_times(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


# The worker program; its scans fail at a fail-point while a file exists.
FAILING_WORKER = """
import pathlib, sys
from syftnotify import worker
from syftnotify.system import failpoints

switch = pathlib.Path(sys.argv[2])

def on_reach(point):
    if point == "tick.scanned" and switch.exists():
        raise ZeroDivisionError("nobody thought of this")

failpoints.on_reach = on_reach
sys.exit(worker.main(["--home", sys.argv[1]]))
"""


@contextlib.contextmanager
def failing_worker(box: Box) -> Iterator[Path]:
    """A worker whose scans fail while there is a file at the yielded path."""
    switch = box.folder / "break"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", FAILING_WORKER, str(box.home.root), str(switch)],
        env=box.environment(),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield switch
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def failures(box: Box, step: str = "scan") -> int:
    """The number of consecutive failures of that step of the loop."""
    return int(worker_status.read(box.home).failures.get(step, {"count": 0})["count"])


@pytest.mark.thorough
def test_scan_failing_repeatedly_is_unhealthy_until_it_succeeds(
    box: Box, tree_with_peer: DemoTree, ping_server: PingServer
) -> None:
    """X01, S16: from the third failure on; the log has the traceback."""
    configure(box, heartbeat={"ping_url": ping_server.url, "daily": "00:00"})
    (box.folder / "break").touch()
    with failing_worker(box) as switch:
        wait_until(lambda: failures(box) >= 3, what="three failed scans")
        code, report = status_with_code(box)
        log = box.home.log.read_text()
        assert code == 4
        (problem,) = report["unwell"]
        assert "scans failed" in problem
        assert "nobody thought of this" in problem
        assert report["last_error"] == "nobody thought of this"
        assert "Traceback (most recent call last)" in log
        assert "ZeroDivisionError: nobody thought of this" in log
        assert ping_server.pings == []
        assert heartbeats(box) == []

        switch.unlink()
        tree_with_peer.submit(ANA, "survey", CODE)
        wait_until(lambda: ping_server.pings, what="a ping")
        wait_until(lambda: heartbeats(box), what="the daily mail")
        wait_until(lambda: status_with_code(box)[0] == 0, what="healthy")
        assert failures(box) == 0


@pytest.mark.thorough
def test_scan_failing_once_is_healthy(box: Box, tree_with_peer: DemoTree) -> None:
    """S16: the next scan finds what it missed."""
    configure(box)
    with failing_worker(box) as switch:
        wait_until(lambda: worker_status.read(box.home).last_scan_s, what="a scan")
        switch.touch()
        tree_with_peer.submit(ANA, "survey", CODE)
        wait_until(lambda: failures(box) >= 1, what="a failed scan")
        switch.unlink()

        wait_until(lambda: len(box.mails()) == 2, what="both mails")
        assert status_with_code(box)[0] == 0


@pytest.mark.thorough
def test_health_step_failing_is_shown_until_it_succeeds(box: Box, tree_with_peer: DemoTree) -> None:
    """B4: a successful scan in between does not reset the counter."""
    configure(box, heartbeat={"daily": "00:00"})
    start_worker(box)
    wait_until(lambda: heartbeats(box), what="a health step that works")
    with contextlib.closing(sqlite3.connect(box.home.outbox, timeout=30)) as database:
        database.execute("ALTER TABLE attempts RENAME TO away")  # used by the daily mail, not by scans

        def shown() -> list[str]:
            return [text for text in status_with_code(box)[1]["unwell"] if "health checks failed" in text]

        (text,) = wait_until(shown, what="unhealthy")
        scans = worker_status.read(box.home).last_scan_s
        count = failures(box, "health")
        wait_until(lambda: worker_status.read(box.home).last_scan_s != scans, what="another scan")
        wait_until(lambda: failures(box, "health") > count, what="another failure")

        assert "attempts" in text
        assert failures(box) == 0

        database.execute("ALTER TABLE away RENAME TO attempts")
    wait_until(lambda: status_with_code(box)[0] == 0, what="healthy again")
    assert failures(box, "health") == 0


NEWER = b'{"version": 99}'


@pytest.mark.thorough
def test_ledger_of_a_newer_version_is_waited_for(box: Box, tree_with_peer: DemoTree) -> None:
    """X02, S16: when the ledger is restored, the worker continues."""
    configure(box)
    start_worker(box)
    wait_until(box.home.state.exists, what="the ledger")
    ledger = box.home.state.read_bytes()

    atomic_write(box.home.state, NEWER)
    _, report = wait_until(lambda: (found := status_with_code(box))[0] == 4 and found, what="unhealthy")
    assert any("newer version" in problem for problem in report["unwell"])
    tree_with_peer.submit(ANA, "survey", CODE)
    assert box.home.state.read_bytes() == NEWER
    atomic_write(box.home.state, ledger)

    wait_until(lambda: len(box.mails()) == 2, what="both mails")
    wait_until(lambda: status_with_code(box)[0] == 0, what="healthy")
    box.notify("stop", check=0)


def test_hanging_delivery_delays_no_scan(google: Google, box: Box, tree_with_peer: DemoTree) -> None:
    """A12, N26: new events are recorded meanwhile."""
    configure(box, google, second=False)
    google.write_token(box.home.token)
    google.default = hang(60)
    start_worker(box)
    tree_with_peer.submit(ANA, "survey", CODE)
    wait_until(lambda: len(google.posts) == 2, what="two attempts in flight")

    before = modification_times(box.root)
    wait_for_scans(box)
    assert modification_times(box.root) == before
    tree_with_peer.approve(ANA, "survey")
    wait_until(lambda: worker_status.read(box.home).waiting == 3, what="the approval is queued")
    assert status_with_code(box)[0] == 0

    google.stop()
    box.notify("stop", check=0)


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["switched off", "no root"])
def test_worker_that_notifies_nobody_does_not_ping(box: Box, ping_server: PingServer, fault: str) -> None:
    """B06, B08, G01: a worker that sends nothing or sees nothing is not healthy."""
    configure(
        box,
        notify={"enabled": fault != "switched off"},
        heartbeat={"ping_url": ping_server.url, "daily": "00:00"},
    )
    if fault == "no root":
        box.root.rmdir()
    box.notify("start", check=0)
    wait_for_scans(box)
    box.notify("stop", check=0)

    assert ping_server.pings == []
    assert box.mails() == []


@pytest.mark.thorough
def test_worker_with_a_silent_ping_server_is_healthy(
    box: Box, tree_with_peer: DemoTree, ping_server: PingServer
) -> None:
    """B06: mails are sent, stopping works, and the log does not contain the secret of the address."""
    ping_server.is_silent = True
    configure(box, heartbeat={"ping_url": ping_server.url})
    start_worker(box)
    wait_for_scans(box)

    tree_with_peer.submit(ANA, "survey", CODE)
    wait_until(lambda: len(box.mails()) == 2, what="both mails")
    box.notify("status", check=0)
    box.notify("stop", check=0)

    assert SECRET not in box.home.log.read_text()


def test_worker_sends_one_sign_in_alert_and_status_shows_it(google: Google, box: Box) -> None:
    """X07, S16: as a notice, not as a health problem."""
    box.clock.now = time.time()
    configure(box, google)
    write_sign_in(box, google, days_left=1.5)
    start_worker(box)
    wait_until(lambda: len(alerts(google)) == 1, what="the alert")

    code, report = status_with_code(box)
    shown = box.notify("status", check=0)
    box.notify("stop", check=0)

    assert code == 0
    ends = datetime.fromisoformat(report["transports"]["mail"]["sign_in_ends"]).timestamp()
    assert ends == pytest.approx(box.clock.now + 1.5 * DAY, abs=2)
    assert report["unwell"] == []
    (notice,) = [notice for notice in report["notices"] if "sign-in" in notice]
    assert "transport mail" in notice
    assert "notify init --credentials" in notice
    assert notice in " ".join((shown.stdout + shown.stderr).split())
    assert len(alerts(google)) == 1
    assert SECRET not in box.home.log.read_text() + json.dumps(report)


@pytest.mark.thorough
@pytest.mark.parametrize(("days_left", "known"), [(6.0, True), (1.0, False)])
def test_status_has_no_notice_of_a_far_or_unknown_sign_in_end(
    google: Google, box: Box, days_left: float, known: bool
) -> None:
    """X07, S16."""
    box.clock.now = time.time()
    configure(box, google)
    write_sign_in(box, google, days_left=days_left, **({} if known else {"refresh_token_expires_in": None}))
    start_worker(box)

    code, report = status_with_code(box)

    assert code == 0
    assert not [notice for notice in report["notices"] if "sign-in" in notice]
    assert ("sign_in_ends" in report["transports"]["mail"]) == known


@pytest.mark.thorough
@pytest.mark.parametrize(
    "changes",
    [
        {"refresh_token_expires_in": 1e300},
        {"refresh_token_expires_in": float("inf")},
        {"refresh_token_expires_in": 10**400},
        {"signed_in_at": 1e18},
        {"signed_in_at": float("nan")},
    ],
    ids=["far", "infinite", "huge", "late", "not a number"],
)
def test_worker_starts_with_absurd_times_of_a_sign_in(google: Google, box: Box, changes: dict[str, Any]) -> None:
    """X07: The sign-in itself is valid."""
    configure(box, google)
    write_sign_in(box, google, days_left=1.5, **changes)

    box.notify("start", check=0)

    assert status_with_code(box)[0] == 0


@pytest.mark.thorough
@pytest.mark.parametrize("code", [401, 403, 500])
def test_worker_writes_no_secret_to_log_or_status(box: Box, code: int) -> None:
    """S16: whatever a server answers; the thin version is in tests/integration/test_logs_command.py."""
    with contextlib.closing(EchoServer(code)) as server:
        server.configure(box)
        DemoTree(box.root, box.snapshot).submit(ANA, "survey", CODE)
        started = box.notify("start", check=0)
        wait_until(lambda: worker_status.read(box.home).last_error, what="a failed attempt")
        wait_until(lambda: any(path != "/ping-SECRET" for path in server.paths), what="an attempt")
        status = box.notify("status")
        box.notify("stop", check=0)

    for text in (
        *(done.stdout + done.stderr for done in (started, status)),
        *(path.read_text() for path in (box.home.log, box.home.worker_status, box.home.state)),
    ):
        assert "SECRET" not in text
