"""Webhook settings of config.yaml, and templates whose output is no JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from tests.fakes.web import WebServer
from tests.support import Box


def configure_webhooks(box: Box, **settings: dict[str, Any]) -> None:
    """Webhooks of these names and settings, beside a Maildir."""
    hooks = {name: {"type": "webhook", "url": "https://hooks.example/x", **more} for name, more in settings.items()}
    box.configure({"transports": {"box": {"type": "maildir"}, **hooks}})


@pytest.mark.parametrize(
    "settings",
    [
        {"body": "{}"},
        {"body": "{}", "format": "native"},
        {"format": "template"},
        {"format": "template", "body": None},
    ],
)
def test_webhook_body_and_format_template_require_each_other(box: Box, settings: dict[str, Any]) -> None:
    configure_webhooks(box, oncall=settings)
    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert "transports.oncall: `body` and `format: template` belong together" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"format": "tempalte", "body": "{}"}, "transports.oncall.format"),
        ({"format": "template", "body": 5}, "transports.oncall.body"),
        ({"format": "template", "body": {"a": 1}}, "transports.oncall.body"),
    ],
)
def test_webhook_format_that_is_invalid_is_named_by_path(box: Box, settings: dict[str, Any], path: str) -> None:
    configure_webhooks(box, oncall=settings)
    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert path in str(caught.value)


@pytest.mark.parametrize("command", [("run", "--once"), ("doctor",)])
def test_webhook_templates_that_are_invalid_are_all_named(box: Box, command: tuple[str, ...]) -> None:
    """And which webhook's it is, of each that is wrong."""
    configure_webhooks(
        box,
        pager={"format": "template", "body": '{"a": "${nothing}"}'},
        oncall={"format": "template", "body": "{% if"},
        good={"format": "template", "body": '{"a": "${job_id}"}'},
    )
    done = box.notify(*command, check=1 if command == ("doctor",) else 2)
    said = done.stdout + done.stderr

    assert "Traceback" not in said
    assert all(word in said for word in ("pager", "oncall", "nothing", "job_id")), said
    assert not box.home.outbox.exists()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded; charset=utf-8"])
def test_webhook_template_of_another_content_type_is_not_checked(box: Box, hook: WebServer, kind: str) -> None:
    """C8"""
    settings = {"format": "template", "body": "{{ job.name }}", "headers": {"Content-Type": kind}}
    box.configure({"transports": {"box": {"type": "maildir"}, "oncall": {**settings, **webhook_section(hook)}}})
    emit_job_failed(box, 'x" \\ y')
    box.scan()

    assert [request.body for request in hook.requests] == [b'x" \\ y']


def test_webhook_output_that_is_not_json_is_a_dead_letter(box: Box, hook: WebServer) -> None:
    """C8"""
    settings = {"format": "template", "body": '{"a": "{{ job.name }}"}', **webhook_section(hook)}
    box.configure({"transports": {"box": {"type": "maildir"}, "oncall": settings}})
    emit_job_failed(box, 'x", "admin')
    emit_job_failed(box, "good")
    box.scan()

    assert [request.json for request in hook.requests] == [{"a": "good"}]
    assert "not valid JSON" in box.notify("dead", check=0).stdout.replace("\n", " ")
    assert "tojson" in " ".join(box.notify("doctor").stdout.split())
    assert "tojson" in " ".join(box.notify("run", "--once").stderr.split())


def webhook_section(hook: WebServer) -> dict[str, Any]:
    return {"type": "webhook", "url": hook.url, "events": ["job_failed"], "to": ["oncall"]}


def emit_job_failed(box: Box, name: str) -> None:
    box.notify("emit", "job_failed", "--entity", "run/1", "--key", name, "--payload", json.dumps({"name": name}))
