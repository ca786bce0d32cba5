"""From an emitted event to each transport: routes, filters, formats, digests."""

from __future__ import annotations

from typing import Any

import yaml

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.rendering.filters import indented
from tests.fakes.web import WebServer
from tests.queries import emit_event
from tests.support import ANA, OWNER, Box
from tests.transport_boxes import GFLOW_EVENTS, configure_routes
from tests.trees import TREES, Disk


def test_gflow_events_all_reach_a_webhook(box: Box, hook: WebServer) -> None:
    """G06, G16, G17, G18, G21"""
    configure_routes(box, hook, [], events=["*"], format="gflow")
    for kind in GFLOW_EVENTS:
        emit_event(box, kind, user="alice", payload={"job_id": 42})
    box.scan()

    assert [request.json["event"] for request in hook.requests] == GFLOW_EVENTS
    for request in hook.requests:
        sent = request.json
        assert sent["timestamp"].endswith("Z")
        assert set(sent["scheduler"]) == {"host", "version"}
        if sent["event"].startswith("job_"):
            assert sent["job"]["id"] == 42
            assert sent["job"]["user"] == "alice"
    box.scan()
    assert len(hook.requests) == 13


def test_gpu_available_twice_is_sent_once(box: Box, hook: WebServer) -> None:
    """G19: until something else is heard of it."""
    configure_routes(box, hook, [], events=["*"])
    for kind in ("gpu_available", "gpu_available"):
        emit_event(box, kind, "gpu 0")
    box.scan()
    emit_event(box, "gpu_available", "gpu 0")
    box.scan()
    assert len(hook.requests) == 1
    emit_event(box, "reservation_created", "gpu 0")
    emit_event(box, "gpu_available", "gpu 0")
    box.scan()

    assert [request.json["event"] for request in hook.requests] == [
        "gpu_available",
        "reservation_created",
        "gpu_available",
    ]


def test_emit_notify_emails_are_sent_by_mail_only(box: Box, hook: WebServer) -> None:
    """G22, G23, G24: and no webhook for it."""
    configure_routes(box, hook, [])
    emit_event(box, "job_failed", notify_emails=["a@x.example"], payload={"error": "boom"})
    emit_event(box, "job_started", notify_emails=["b@x.example"])
    emit_event(box, "job_started", notify_emails=["c@x.example"], notify_on=["job_started"])
    emit_event(box, "gpu_available", notify_emails=["d@x.example"], notify_on=["gpu_available"])
    box.scan()

    failed, started = sorted(box.mails(), key=lambda mail: mail.to)
    assert (failed.event, failed.to, failed.subject) == ("job_failed", "a@x.example", "FAILED gflow/42")
    assert (started.event, started.to) == ("job_started", "c@x.example")
    assert "boom" in failed.text
    assert hook.requests == []


def test_routes_apply_in_order_until_one_does_not_continue(box: Box, hook: WebServer) -> None:
    """N18, N19"""
    configure_routes(
        box,
        hook,
        [
            {
                "events": ["job_failed"],
                "match": {"tags": ["team-*"]},
                "to": ["#data-team"],
                "via": "team",
                "continue": True,
            },
            {"events": ["job_failed"], "match": {"severity": "high", "not": {"job": "noisy-*"}}, "to": ["oncall"]},
            {"to": ["owner"]},
        ],
    )
    emit_event(box, "job_failed", "run/1", tags=["team-data"], payload={"name": "nightly"})
    emit_event(box, "job_failed", "run/2", payload={"name": "noisy-one"})
    box.scan()

    reached = {request.json.get("channel") or request.json["entity"] for request in hook.requests}
    assert reached == {"#data-team", "run/1"}
    assert len(hook.requests) == 2
    (mail,) = box.mails()
    assert (mail.to, mail.entities) == (OWNER, ["run/2"])


def test_filter_users_limits_the_webhook(box: Box, hook: WebServer) -> None:
    """G07"""
    configure_routes(box, hook, [], events=["job_failed"], filter_users=["alice"])
    emit_event(box, "job_failed", user="alice")
    emit_event(box, "job_failed", user="bob")
    emit_event(box, "job_completed", user="alice")
    box.scan()

    assert [request.json["job"]["user"] for request in hook.requests] == ["alice"]


def test_alert_is_sent_regardless_of_routes(box: Box, hook: WebServer) -> None:
    configure_routes(box, hook, [{"events": ["job_failed"], "to": [ANA]}])
    app = box.open_app()
    try:
        app.pipeline.enqueue_worker_event(
            Event(EventKind.SYSTEM_ALERT, "worker/x", "T", payload={"summary": "it hurts"}), box.clock.now
        )
        app.dispatcher.drain()
    finally:
        app.close()

    assert [mail.to for mail in box.mails()] == [OWNER]


def test_digest_above_the_threshold_spares_urgent_events(box: Box, hook: WebServer) -> None:
    """X06: per recipient, the worst first; what a program reads is never gathered."""
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "oncall": {"type": "webhook", "url": hook.url, "events": ["*"]},
            },
            "routes": [{"to": ["owner"]}],
            "digest": {"above": 3, "within": "60s", "every": "10m"},
        }
    )
    for number in range(8):
        emit_event(box, "job_completed", f"run/{number}")
    emit_event(box, "job_failed", "run/bad")
    box.scan()

    singles = [mail for mail in box.mails() if mail.event != "digest"]
    (digest,) = [mail for mail in box.mails() if mail.event == "digest"]
    assert sorted(mail.entities for mail in singles) == [["run/0"], ["run/1"], ["run/bad"]]
    assert sorted(digest.entities) == [f"run/{number}" for number in range(2, 8)]
    assert len(hook.requests) == 9

    emit_event(box, "job_completed", "run/late")
    box.clock.advance(30)
    box.scan()
    assert len(box.mails()) == 4
    box.clock.advance(600)
    box.scan()
    assert [mail.entities for mail in box.mails()[4:]] == [["run/late"]]


def test_failed_run_is_sent_with_step_traceback_and_link(box: Box, hook: WebServer) -> None:
    """N08, N24, N25, C04"""
    configure_routes(box, hook, [{"to": ["#jobs", "oncall", "team@lab.example"]}])
    error = "Traceback (most recent call last):\n  File x\nOperationalError: connection refused"
    payload = {"name": "nightly-sync", "step": "copy-orders", "error": error, "url": "https://runs.example/7"}
    emit_event(box, "job_failed", "run/7", payload=payload)
    emit_event(box, "workflow_build_failed", "wf/1", payload={"workflow_name": "orders", "url": "javascript:alert(1)"})
    box.scan()

    lines = [request.json["text"] for request in hook.requests if "text" in request.json]
    assert (
        '\N{CROSS MARK} Job "nightly-sync" failed at step copy-orders. · '
        "OperationalError: connection refused <https://runs.example/7|View run>"
    ) in lines
    assert any('Workflow "orders" could not be built.' in line and "javascript" not in line for line in lines)
    failed = next(mail for mail in box.mails() if mail.event == "job_failed")
    assert failed.subject == "FAILED nightly-sync"
    assert indented(error) in failed.text.replace("\r\n", "\n")
    assert f">{error}</div>" in failed.html.replace("\r\n", "\n")
    assert 'href="https://runs.example/7"' in failed.html
    assert next(request.json["url"] for request in hook.requests if "url" in request.json) == "https://runs.example/7"


def test_gpu_available_with_new_keys_is_sent_each_time(box: Box, hook: WebServer) -> None:
    """G19: it says itself when it is news."""
    configure_routes(box, hook, [], events=["*"])
    for key in ("monday", "tuesday", "tuesday"):
        emit_event(box, "gpu_available", "gpu 0", key=key)
    box.scan()

    assert len(hook.requests) == 2


def test_recipient_named_by_a_job_gets_no_private_output(box: Box, hook: WebServer) -> None:
    """G25: the owner's own readers do."""
    configure_routes(box, hook, [{"to": ["oncall"]}])
    box.configure({**config_of(box), "recipients": {"allow": ["#jobs"]}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.scan()
    tree.submit("survey", ANA, config={"headers": {"alerts": {"recipients": ["#jobs"]}}})
    tree.approve("survey", ANA)
    tree.run("survey", ANA, code=1, stderr="PRIVATE row 17: 42\n")
    box.clock.advance(60)
    box.scan()

    line = next(request.json["text"] for request in hook.requests if "text" in request.json)
    errors = [request.json["job"].get("error") for request in hook.requests if "job" in request.json]
    assert "survey" in line
    assert "PRIVATE" not in line
    assert "PRIVATE row 17: 42" in errors


def config_of(box: Box) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(box.home.config.read_text())
    return loaded
