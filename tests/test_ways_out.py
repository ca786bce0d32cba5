"""From an event to each way out: routes, wishes, emitted events, with real servers."""

from __future__ import annotations

from typing import Any

import yaml

import syftnotify
from syftnotify.core.kinds import EventKind
from syftnotify.rendering.templates import indented
from tests.fakes.web import Web
from tests.support import ANA, OWNER, Box
from tests.trees import TREES, Disk

GFLOW = [
    "job_submitted",
    "job_updated",
    "job_started",
    "job_completed",
    "job_failed",
    "job_cancelled",
    "job_timeout",
    "job_held",
    "job_released",
    "gpu_available",
    "reservation_created",
    "reservation_cancelled",
    "scheduler_online",
]


def routed(box: Box, hook: Web, routes: list[dict[str, Any]], **webhook: Any) -> None:
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "oncall": {"type": "webhook", "url": hook.url, **webhook},
                "team": {"type": "slack", "url": hook.url, "default_recipient": "#jobs", "rate": 1000, "burst": 1000},
            },
            "routes": routes,
        }
    )


def emit(box: Box, kind: str, entity: str = "gflow/42", **more: Any) -> str:
    return syftnotify.emit(kind, entity, home=box.home.root, **more)


def test_each_of_gflows_thirteen_events_reaches_a_webhook(box: Box, hook: Web) -> None:
    """G06, G16, G17, G18, G21"""
    routed(box, hook, [], events=["*"], format="gflow")
    for kind in GFLOW:
        emit(box, kind, user="alice", payload={"job_id": 42})
    box.look()

    assert [request.json["event"] for request in hook.requests] == GFLOW
    for request in hook.requests:
        sent = request.json
        assert sent["timestamp"].endswith("Z")
        assert set(sent["scheduler"]) == {"host", "version"}
        if sent["event"].startswith("job_"):
            assert sent["job"]["id"] == 42
            assert sent["job"]["user"] == "alice"
    box.look()
    assert len(hook.requests) == 13


def test_a_gpu_that_is_available_twice_is_told_once(box: Box, hook: Web) -> None:
    """G19: until something else is heard of it."""
    routed(box, hook, [], events=["*"])
    for kind in ("gpu_available", "gpu_available"):
        emit(box, kind, "gpu 0")
    box.look()
    emit(box, "gpu_available", "gpu 0")
    box.look()
    assert len(hook.requests) == 1
    emit(box, "reservation_created", "gpu 0")
    emit(box, "gpu_available", "gpu 0")
    box.look()

    assert [request.json["event"] for request in hook.requests] == [
        "gpu_available",
        "reservation_created",
        "gpu_available",
    ]


def test_one_key_is_one_event_and_without_one_each_is_its_own(box: Box, hook: Web) -> None:
    routed(box, hook, [], events=["*"])
    for _ in range(3):
        emit(box, "job_failed", key="run-7")
        box.look()
    assert len(hook.requests) == 1
    emit(box, "job_failed")
    emit(box, "job_failed")
    box.look()
    assert len(hook.requests) == 3


def test_an_event_tells_by_mail_whom_it_names(box: Box, hook: Web) -> None:
    """G22, G23, G24: and no webhook for it."""
    routed(box, hook, [])
    emit(box, "job_failed", notify_emails=["a@x.example"], payload={"error": "boom"})
    emit(box, "job_started", notify_emails=["b@x.example"])
    emit(box, "job_started", notify_emails=["c@x.example"], notify_on=["job_started"])
    emit(box, "gpu_available", notify_emails=["d@x.example"], notify_on=["gpu_available"])
    box.look()

    failed, started = sorted(box.mails(), key=lambda mail: mail.to)
    assert (failed.event, failed.to, failed.subject) == ("job_failed", "a@x.example", "FAILED gflow/42")
    assert (started.event, started.to) == ("job_started", "c@x.example")
    assert "boom" in failed.text
    assert hook.requests == []


def test_routes_are_asked_in_order_until_one_does_not_go_on(box: Box, hook: Web) -> None:
    """N18, N19"""
    routed(
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
    emit(box, "job_failed", "run/1", tags=["team-data"], payload={"name": "nightly"})
    emit(box, "job_failed", "run/2", payload={"name": "noisy-one"})
    box.look()

    told = {request.json.get("channel") or request.json["entity"] for request in hook.requests}
    assert told == {"#data-team", "run/1"}
    assert len(hook.requests) == 2
    (mail,) = box.mails()
    assert (mail.to, mail.entities) == (OWNER, ["run/2"])


def test_users_are_filtered(box: Box, hook: Web) -> None:
    """G07"""
    routed(box, hook, [], events=["job_failed"], filter_users=["alice"])
    emit(box, "job_failed", user="alice")
    emit(box, "job_failed", user="bob")
    emit(box, "job_completed", user="alice")
    box.look()

    assert [request.json["job"]["user"] for request in hook.requests] == ["alice"]


def test_trouble_is_told_whatever_the_routes_leave_out(box: Box, hook: Web) -> None:
    routed(box, hook, [{"events": ["job_failed"], "to": [ANA]}])
    parts = box.parts()
    try:
        parts.pipeline.enqueue_own(event(EventKind.SYSTEM_ALERT, "worker/x", {"summary": "it hurts"}), box.clock.now)
        parts.dispatcher.drain()
    finally:
        parts.close()

    assert [mail.to for mail in box.mails()] == [OWNER]


def event(kind: EventKind, entity: str, payload: dict[str, Any]) -> Any:
    from syftnotify.core.models import Event

    return Event(kind, entity, "T", payload=payload)


def test_above_a_few_in_a_minute_the_rest_is_one_digest_and_what_is_urgent_comes_singly(box: Box, hook: Web) -> None:
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
        emit(box, "job_completed", f"run/{number}")
    emit(box, "job_failed", "run/bad")
    box.look()

    singles = [mail for mail in box.mails() if mail.event != "digest"]
    (digest,) = [mail for mail in box.mails() if mail.event == "digest"]
    assert sorted(mail.entities for mail in singles) == [["run/0"], ["run/1"], ["run/bad"]]
    assert sorted(digest.entities) == [f"run/{number}" for number in range(2, 8)]
    assert len(hook.requests) == 9

    emit(box, "job_completed", "run/late")
    box.clock.advance(30)
    box.look()
    assert len(box.mails()) == 4
    box.clock.advance(600)
    box.look()
    assert [mail.entities for mail in box.mails()[4:]] == [["run/late"]]


def test_a_run_of_a_scheduler_is_told_with_its_step_its_traceback_and_its_page(box: Box, hook: Web) -> None:
    """N08, N24, N25, C04"""
    routed(box, hook, [{"to": ["#jobs", "oncall", "team@lab.example"]}])
    error = "Traceback (most recent call last):\n  File x\nOperationalError: connection refused"
    payload = {"name": "nightly-sync", "step": "copy-orders", "error": error, "url": "https://runs.example/7"}
    emit(box, "job_failed", "run/7", payload=payload)
    emit(box, "workflow_build_failed", "wf/1", payload={"workflow_name": "orders", "url": "javascript:alert(1)"})
    box.look()

    lines = [request.json["text"] for request in hook.requests if "text" in request.json]
    assert (
        '\N{CROSS MARK} Job "nightly-sync" failed at step copy-orders. · '
        "OperationalError: connection refused <https://runs.example/7|View run>"
    ) in lines
    assert any('Workflow "orders" could not be built.' in line and "javascript" not in line for line in lines)
    failed = next(mail for mail in box.mails() if mail.event == "job_failed")
    assert failed.subject == "FAILED nightly-sync"
    assert indented(error) in failed.text.replace("\r\n", "\n")
    assert "<pre" in failed.html
    assert 'href="https://runs.example/7"' in failed.html
    assert next(request.json["url"] for request in hook.requests if "url" in request.json) == "https://runs.example/7"


def test_a_gpu_whose_scheduler_gives_keys_is_told_each_time(box: Box, hook: Web) -> None:
    """G19: it says itself when it is news."""
    routed(box, hook, [], events=["*"])
    for key in ("monday", "tuesday", "tuesday"):
        emit(box, "gpu_available", "gpu 0", key=key)
    box.look()

    assert len(hook.requests) == 2


def test_who_is_only_named_by_a_job_hears_nothing_of_what_it_printed(box: Box, hook: Web) -> None:
    """G25: the owner's own readers do."""
    routed(box, hook, [{"to": ["oncall"]}])
    box.configure({**config_of(box), "recipients": {"allow": ["#jobs"]}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.look()
    tree.submit("survey", ANA, config={"headers": {"alerts": {"recipients": ["#jobs"]}}})
    tree.approve("survey", ANA)
    tree.run("survey", ANA, code=1, stderr="PRIVATE row 17: 42\n")
    box.clock.advance(60)
    box.look()

    line = next(request.json["text"] for request in hook.requests if "text" in request.json)
    errors = [request.json["job"].get("error") for request in hook.requests if "job" in request.json]
    assert "survey" in line
    assert "PRIVATE" not in line
    assert "PRIVATE row 17: 42" in errors


def config_of(box: Box) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(box.home.config.read_text())
    return loaded
