"""What the owner learns when the notifier itself cannot deliver: alerts, status, and a dead-man ping that stops."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sqlite3
from typing import Any

import pytest

from syftnotify import running
from syftnotify.cli.demo import Tree
from syftnotify.errors import StateError
from tests.support import ANA, OWNER, Box, wait_until, worker_in_process
from tests.web import Web, closes, says


def nobody_listens() -> int:
    """A port of this machine that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def submit(box: Box, name: str) -> None:
    """One job in layout D of a scientist whom the owner has added."""
    tree = Tree(box.root, box.snapshot)
    if not (box.root / OWNER).exists():
        tree.grant(ANA)
    tree.submit(ANA, name, "print(1)\n")


def texts(hook: Web) -> list[str]:
    return [request.json["text"] for request in hook.requests if request.line.startswith("POST")]


def pings(hook: Web) -> int:
    return sum(1 for request in hook.requests if request.line.startswith("GET"))


def configure(box: Box, hook: Web, **more: Any) -> None:
    mail = {"type": "smtp", "smtp_url": f"smtp://127.0.0.1:{nobody_listens()}"}
    transports = {"mail": mail, "team": {"type": "slack", "url": hook.url, "rate": 1000, "burst": 1000}}
    box.configure({"transports": transports, "heartbeat": {"ping_url": hook.url}, **more})


def test_an_unreachable_transport_alerts_through_another_and_stops_the_ping(box: Box, hook: Web) -> None:
    """B1: after two minutes; nothing before that, and once."""
    configure(box, hook)
    with worker_in_process(box) as look:
        look()
        submit(box, "survey")
        look(advance=1)
        before = pings(hook)
        look(advance=60)
        assert texts(hook) == []
        look(advance=70)
        stopped = pings(hook)
        for _ in range(5):
            look(advance=60)

    (alert,) = texts(hook)
    assert "Transport mail cannot send." in alert
    assert before > 0
    assert pings(hook) == stopped


def test_alert_is_sent_when_another_transport_works_again(box: Box, hook: Web) -> None:
    """B1, B5: after a network failure that both transports had."""
    configure(box, hook)
    with worker_in_process(box) as look:
        look()
        hook.usual = closes
        submit(box, "survey")
        look(advance=1)
        look(advance=130)
        hook.usual = says(200, "ok")
        for _ in range(5):
            look(advance=3600)

    assert [text for text in texts(hook) if "Transport mail cannot send." in text]


def test_dead_letters_are_reported_in_one_alert_and_stop_the_ping(box: Box, hook: Web) -> None:
    """A4: until a person acknowledges them."""
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "team": {"type": "slack", "url": hook.url, "rate": 1000, "burst": 1000},
            },
            "routes+": [{"events": ["job_submitted"], "to": ["#a", "#b"], "continue": True}],
            "heartbeat": {"ping_url": hook.url},
        }
    )
    with worker_in_process(box) as look:
        look()
        hook.answers += [says(400, "invalid_payload"), says(400, "invalid_payload")]
        submit(box, "survey")
        look(advance=20)
        stopped = pings(hook)
        parts = look(advance=20)
        reports = [mail for mail in box.mails() if mail.event == "system_alert"]
        assert [mail.to for mail in reports] == [OWNER]
        assert "2 notifications could not be delivered" in reports[0].subject
        assert "job_submitted to #a through team" in reports[0].text
        assert "notify dead-letters" in reports[0].text
        assert pings(hook) == stopped
        assert parts.outbox.counts().unacknowledged == 2
        parts.outbox.acknowledge(box.clock.now)
        look(advance=20)

    assert pings(hook) == stopped + 1
    assert len([mail for mail in box.mails() if mail.event == "system_alert"]) == 1


def test_an_alert_that_cannot_be_queued_is_tried_again(box: Box, hook: Web) -> None:
    """A10: the database fails at the moment of the alert."""
    configure(box, hook)
    with worker_in_process(box) as look:
        look()
        submit(box, "survey")
        look(advance=1)
        with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
            database.execute(
                "CREATE TRIGGER fails BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'database is locked'); END"
            )
        with pytest.raises(StateError):
            look(advance=130)
        assert texts(hook) == []
        with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
            database.execute("DROP TRIGGER fails")
        look(advance=10)

    assert len(texts(hook)) == 1


def test_dispatcher_that_fails_again_and_again_makes_the_worker_unhealthy(box: Box, hook: Web) -> None:
    """A2, B4: whatever the cause is; here the table of attempts is gone."""
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


@pytest.mark.parametrize("what", ["root", "owner", "owner beside an older layout"])
def test_a_syftbox_folder_that_vanishes_makes_the_worker_unhealthy(box: Box, hook: Web, what: str) -> None:
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
    scan = running.read(box.home).last_scan_s
    wait_until(lambda: running.read(box.home).last_scan_s != scan, what="another scan")
    assert pings(hook) <= stopped + 1, "one may have been under way"
    box.notify("restart", check=0)
    assert box.notify("status").returncode == 0


def unhealthy_status(box: Box) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(box.notify("status", "--json").stdout)
    return status if status["unwell"] else {}
