"""A worker that is unhealthy: `status`, exit code, and the health check ping."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from typing import Any

import pytest

from syftnotify.system import worker_status
from tests.fakes.web import WebServer
from tests.health_boxes import pings, submit
from tests.queries import emit_event
from tests.support import OWNER, Box, wait_until


def test_worker_whose_dispatcher_keeps_failing_is_unhealthy(box: Box, hook: WebServer) -> None:
    """A2, B4: whatever the cause; here the table of attempts is missing."""
    box.configure({"heartbeat": {"ping_url": hook.url}, "transports": {"box": {"type": "maildir"}}})
    submit(box, "survey")
    box.notify("start", check=0)
    wait_until(box.mails, what="mail")
    with contextlib.closing(sqlite3.connect(box.home.outbox, timeout=30)) as database, database:
        database.execute("ALTER TABLE attempts RENAME TO away")
    submit(box, "other")
    (problem,) = wait_until(
        lambda: [
            each for each in unhealthy_status(box).get("unwell", []) if "attempts to read the outbox failed" in each
        ],
        what="an unhealthy status",
    )
    with contextlib.closing(sqlite3.connect(box.home.outbox, timeout=30)) as database, database:
        database.execute("ALTER TABLE away RENAME TO attempts")

    assert "attempts" in problem
    wait_until(lambda: not json.loads(box.notify("status", "--json").stdout)["unwell"], what="healthy again")


@pytest.mark.parametrize(
    "what",
    ["owner", *(pytest.param(each, marks=pytest.mark.thorough) for each in ("root", "owner beside an older layout"))],
)
def test_worker_whose_syftbox_folder_vanished_is_unhealthy(box: Box, hook: WebServer, what: str) -> None:
    """B3: an unmounted disk; `restart` accepts the new state."""
    box.configure({"heartbeat": {"ping_url": hook.url}})
    submit(box, "survey")
    if "older" in what:
        (box.root / "datasites" / OWNER / "app_data" / "job").mkdir(parents=True)
    box.notify("start", check=0)
    wait_until(lambda: pings(hook), what="a ping while all is well")
    shutil.rmtree(box.root if what == "root" else box.root / OWNER)
    status = wait_until(lambda: unhealthy_status(box), what="an unhealthy status")

    assert "notify restart" in status["unwell"][0]
    assert box.notify("status").returncode == 4
    stopped = pings(hook)
    scan_seconds = worker_status.read(box.home).last_scan_s
    wait_until(lambda: worker_status.read(box.home).last_scan_s != scan_seconds, what="another scan")
    assert pings(hook) <= stopped + 1, "one may have been in flight"
    box.notify("restart", check=0)
    assert box.notify("status").returncode == 0


def unhealthy_status(box: Box) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(box.notify("status", "--json").stdout)
    return status if status["unwell"] else {}


def test_failing_transport_is_shown_before_it_is_a_problem(box: Box) -> None:
    """It is one after two minutes."""
    box.configure(
        {"transports": {"box": {"type": "maildir"}, "hook": {"type": "webhook", "url": "http://127.0.0.1:9/"}}}
    )
    box.notify("alerts", "add", "--job", "nightly", "--webhook", "hook", check=0)
    box.notify("start", check=0)
    emit_event(box, "job_failed", payload={"name": "nightly"})

    wait_until(lambda: "hook: unreachable since 20" in box.notify(check=0).stderr, what="the warning")
    shown = box.notify("status", check=0).stdout
    assert re.search(r"transport hook +webhook, unreachable since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]", shown)
    assert re.search(r"transport box +maildir, can send", shown)


def test_state_of_a_worker_without_its_folder_names_it(box: Box) -> None:
    box.root.rmdir()
    box.notify("start", check=0)

    assert "does not exist yet" in box.notify(check=0).stderr
