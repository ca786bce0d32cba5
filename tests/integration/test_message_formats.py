"""Bodies and subjects of what is sent."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from syftnotify import __version__
from tests.deliveries import fail_job, scan_later, smtp_transport, start_with
from tests.fakes.mailserver import serve_mail
from tests.fakes.web import WebServer
from tests.queries import emit_event
from tests.support import ANA, BO, OWNER, Box
from tests.trees import Tree


def test_native_body_has_documented_keys_only(box: Box, tree: Tree, hook: WebServer) -> None:
    """G21, N11: one envelope by default, for jobs and other events."""
    changes = {
        "transports": {"hook": {"type": "webhook", "url": hook.url}},
        "routes": [{"events": ["job_failed", "gpu_available"], "to": ["hook"]}],
        "links": {"job": "https://box.example/jobs/{job}"},
    }
    start_with(box, tree, changes)
    fail_job(box, tree, notify={"tags": ["team-data"]})
    emit_event(box, "gpu_available", "gpu/0", payload={"gpu": 0})
    box.scan()
    failed, gpu = (request.json for request in hook.requests)

    entity = tree.entity("survey", ANA)
    assert {**failed, "id": "", "timestamp": "", "payload": {}} == {
        "id": "",
        "event": "job_failed",
        "severity": "high",
        "timestamp": "",
        "entity": entity,
        "job": {
            "id": entity,
            "name": "survey",
            "user": ANA,
            "owner": OWNER,
            "state": "FAILED",
            "exit_code": 3,
            "error": "KeyError: 'age'",
            "tags": ["team-data"],
        },
        "url": "https://box.example/jobs/survey",
        "scheduler": {"host": socket.gethostname(), "version": __version__},
        "payload": {},
    }
    assert re.fullmatch(r"[0-9a-f]{32}", failed["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", failed["timestamp"])
    assert set(gpu) - {"url"} == {"id", "event", "severity", "timestamp", "entity", "scheduler", "payload"}


def test_native_body_of_other_event_has_no_job_link(box: Box, hook: WebServer) -> None:
    """G21, N08, N11."""
    transports = {"hook": {"type": "webhook", "url": hook.url, "events": ["*"]}}
    box.configure({"transports": transports, "routes": [], "links": {"job": "https://box.example/jobs/{job}"}})
    emit_event(box, "gpu_available", "gpu/0")
    box.scan()

    assert "url" not in hook.requests[0].json


STARTED = "2026-01-15T15:00:00Z"


@pytest.mark.parametrize(
    ("transport", "sent"),
    [
        (
            {"format": "gflow"},
            {
                "event": "job_failed",
                "job": {"id": 7, "user": "ana", "state": "Failed"},
                "scheduler": {"host": socket.gethostname(), "version": __version__},
            },
        ),
        (
            {"format": "nomaflow"},
            {
                "job_id": 7,
                "run_id": "r1",
                "state": "FAILED",
                "triggered_by": "ana",
                "started_at": STARTED,
                "error": "KeyError: 'age'",
            },
        ),
        ({"format": "run_alert"}, {"run_id": "r1", "job_name": "nightly", "status": "failed", "exit_code": 3}),
        (
            {"format": "template", "body": '{"text": "${job_id} ${run_id} ${state} ${error} ${started_at} ${url}"}'},
            {"text": f"7 r1 FAILED KeyError: 'age' {STARTED} "},
        ),
    ],
    ids=lambda value: value.get("format"),
)
def test_other_webhook_format_is_as_documented(
    box: Box, hook: WebServer, transport: dict[str, Any], sent: dict[str, Any]
) -> None:
    """G21, N09, N10, N11, A04: `format` is set for each webhook."""
    what = {"name": "nightly", "job_id": 7, "run_id": "r1", "return_code": 3, "started_at": STARTED}
    box.configure(
        {"transports": {"hook": {"type": "webhook", "url": hook.url, **transport}}, "routes": [{"to": ["hook"]}]}
    )
    emit_event(box, "job_failed", user="ana", payload={**what, "error": "Traceback\nKeyError: 'age'"})
    box.scan()
    (request,) = hook.requests

    ended = [request.json[key] for key in ("timestamp", "finished_at") if key in request.json]
    assert all(moment.endswith("Z") for moment in ended)
    assert {key: value for key, value in request.json.items() if value not in ended} == sent


@pytest.mark.parametrize(
    ("body", "content_types"),
    [
        ({}, ["text/plain", "text/html"]),
        ({"body": "both"}, ["text/plain", "text/html"]),
        ({"body": "plain"}, ["text/plain"]),
        ({"body": "html"}, ["text/html"]),
    ],
    ids=str,
)
def test_mail_body_option_selects_the_parts(box: Box, body: dict[str, str], content_types: list[str]) -> None:
    """S04, G15, N08: `body: both`, `plain` or `html`."""
    with serve_mail() as server:
        box.configure({"transports": {"office": smtp_transport(server, **body)}})
        emit_event(box, "job_failed", payload={"error": "boom"})
        box.scan()
        (mail,) = server.committed

    assert [part.get_content_type() for part in mail.mail.walk() if not part.is_multipart()] == content_types
    assert "boom" in (mail.text or mail.html)


def test_alert_subject_differs_from_stable_job_subjects(box: Box, tree: Tree) -> None:
    """N25, B04, G15: behind `subject_prefix`, one stable subject for the owner and one for the submitter."""
    transports = {"box": {"type": "maildir", "subject_prefix": "[Nomaflow]"}}
    start_with(
        box, tree, {"transports": transports, "routes+": [{"events": ["job_failed", "job_timeout"], "to": [BO]}]}
    )
    tree.submit("survey", ANA)
    scan_later(box)
    tree.approve("survey", ANA)
    scan_later(box)
    tree.run("survey", ANA, code=1)
    scan_later(box)

    notified = [(mail.to, mail.subject) for mail in box.mails()]
    assert len(notified) == 6
    assert set(notified) == {
        (OWNER, f'[Nomaflow] SyftBox job "survey" from {ANA}'),
        (ANA, f'[Nomaflow] Your SyftBox job "survey" at {OWNER}'),
        (BO, "[Nomaflow] FAILED survey"),
    }
