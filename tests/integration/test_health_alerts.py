"""Alerts and the health check ping when notifications cannot be delivered."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest

from syftnotify.core.errors import StateError
from tests.fakes.ports import closed_port
from tests.fakes.web import WebServer, close_connection, respond
from tests.health_boxes import pings, submit
from tests.support import OWNER, Box, worker_in_process


def texts(hook: WebServer) -> list[str]:
    return [request.json["text"] for request in hook.requests if request.line.startswith("POST")]


def configure(box: Box, hook: WebServer, **more: Any) -> None:
    mail = {"type": "smtp", "smtp_url": f"smtp://127.0.0.1:{closed_port()}"}
    transports = {"mail": mail, "team": {"type": "slack", "url": hook.url, "rate": 1000, "burst": 1000}}
    box.configure({"transports": transports, "heartbeat": {"ping_url": hook.url}, **more})


def test_unreachable_transport_alerts_through_another_and_stops_the_ping(box: Box, hook: WebServer) -> None:
    """B1: after two minutes; nothing before that, and once."""
    configure(box, hook)
    with worker_in_process(box) as scan:
        scan()
        submit(box, "survey")
        scan(advance=1)
        before = pings(hook)
        scan(advance=60)
        assert texts(hook) == []
        scan(advance=70)
        stopped = pings(hook)
        for _ in range(5):
            scan(advance=60)

    (alert,) = texts(hook)
    assert '"mail" stopped sending' in alert
    assert before > 0
    assert pings(hook) == stopped


def test_alert_is_sent_when_another_transport_works_again(box: Box, hook: WebServer) -> None:
    """B1, B5: after a network failure that both transports had."""
    configure(box, hook)
    with worker_in_process(box) as scan:
        scan()
        hook.default = close_connection
        submit(box, "survey")
        scan(advance=1)
        scan(advance=130)
        hook.default = respond(200, "ok")
        for _ in range(5):
            scan(advance=3600)

    assert [text for text in texts(hook) if '"mail" stopped sending' in text]


def test_dead_letters_are_reported_in_one_alert_and_stop_the_ping(box: Box, hook: WebServer) -> None:
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
    with worker_in_process(box) as scan:
        scan()
        hook.responses += [respond(400, "invalid_payload"), respond(400, "invalid_payload")]
        submit(box, "survey")
        scan(advance=20)
        stopped = pings(hook)
        parts = scan(advance=20)
        reports = [mail for mail in box.mails() if mail.event == "system_alert"]
        assert [mail.to for mail in reports] == [OWNER]
        assert "2 notifications could not be delivered" in reports[0].subject
        assert "job_submitted to #a through team" in reports[0].text
        assert "notify dead-letters" in reports[0].text
        assert pings(hook) == stopped
        assert parts.outbox.history.counts().unacknowledged == 2
        parts.outbox.dead_letters.acknowledge(box.clock.now)
        scan(advance=20)

    assert pings(hook) == stopped + 1
    assert len([mail for mail in box.mails() if mail.event == "system_alert"]) == 1


def test_alert_that_cannot_be_enqueued_is_retried(box: Box, hook: WebServer) -> None:
    """A10: the database fails at the moment of the alert."""
    configure(box, hook)
    with worker_in_process(box) as scan:
        scan()
        submit(box, "survey")
        scan(advance=1)
        with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
            database.execute(
                "CREATE TRIGGER fails BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'database is locked'); END"
            )
        with pytest.raises(StateError):
            scan(advance=130)
        assert texts(hook) == []
        with contextlib.closing(sqlite3.connect(box.home.outbox)) as database, database:
            database.execute("DROP TRIGGER fails")
        scan(advance=10)

    assert len(texts(hook)) == 1
