"""Whom the blocks of a job, the routes and the defaults notify."""

from __future__ import annotations

import re
from typing import Any

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from tests.deliveries import (
    NO_ROUTE_MATCHES,
    fail_job,
    join_lines,
    one_of_each_type,
    smtp_transport,
    start_with,
)
from tests.fakes.mailserver import serve_mail
from tests.fakes.web import WebServer
from tests.queries import add_alert_rule, emit_event
from tests.support import ANA, BO, OWNER, Box
from tests.trees import Tree


def test_on_failure_includes_timeouts_for_blocks_not_for_rules(box: Box, hook: WebServer) -> None:
    """N12, A01: of an alerts block and of an alert rule."""
    box.configure({"routes": NO_ROUTE_MATCHES})
    add_alert_rule(box, "--job", "*", "--webhook", hook.url, "--no-on-timeout")
    for kind in ("job_failed", "job_timeout"):
        emit_event(box, kind, kind, alerts={"on_failure": True, "recipients": [BO]})
    box.scan()

    assert [request.json["status"] for request in hook.requests] == ["failed"]
    assert sorted(mail.event for mail in box.mails()) == ["job_failed", "job_timeout"]


def test_notify_block_is_mail_only_and_alerts_block_anything(box: Box, tree: Tree, hook: WebServer) -> None:
    """G24, N15, N16: the same three allowed recipients."""
    recipients = [BO, "#jobs", "hook"]
    start_with(
        box, tree, {"transports": one_of_each_type(hook), "routes": NO_ROUTE_MATCHES, "recipients": {"allow": ["*"]}}
    )
    fail_job(box, tree, "asks", notify={"emails": recipients})
    assert ([mail.to for mail in box.new_mails()], len(hook.requests)) == ([BO], 0)
    fail_job(box, tree, "alerts", alerts={"recipients": recipients})
    assert [mail.to for mail in box.new_mails()] == [BO]
    assert sorted(request.json.get("channel", "hook") for request in hook.requests) == ["#jobs", "hook"]


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        (
            {"team": {"events": "*", "to": [BO]}},
            f"transports.team.to: '{BO}' is not a recipient of team, which is of type slack",
        ),
        (
            {"hook": {"events": "*", "to": ["team"]}},
            "transports.hook.to: 'team' is not a recipient of hook, which is of type webhook",
        ),
        (
            {"box": {"events": "*", "to": ["#jobs"]}},
            "transports.box.to: '#jobs' is not a recipient of box, which is of type mail",
        ),
        ({"team": {"default_recipient": BO}}, f"transports.team.default_recipient: '{BO}' is not a recipient of team"),
    ],
    ids=lambda value: str(*value) if isinstance(value, dict) else "",
)
def test_recipient_unsuitable_for_its_transport_is_a_config_error(
    box: Box, hook: WebServer, changes: dict[str, Any], mistake: str
) -> None:
    """N15: with its path."""
    box.configure(
        {
            "transports": {
                name: {**transport, **changes.get(name, {})} for name, transport in one_of_each_type(hook).items()
            }
        }
    )

    with pytest.raises(ConfigError, match=re.escape(mistake)):
        load(box.home)


def test_route_without_recipients_uses_transport_defaults(box: Box, hook: WebServer) -> None:
    """N02, N05, N17: the default channel, the webhook itself, or the sender address of mail."""
    with serve_mail() as server:
        transports = {
            **one_of_each_type(hook),
            "ops": {"type": "slack", "url": hook.url, "default_recipient": "#ops"},
            "box": smtp_transport(server, **{"from": "Site <site@clinic.example>"}),
        }
        box.configure({"transports": transports, "routes": [{"via": name, "continue": True} for name in transports]})
        emit_event(box, "job_failed")
        box.scan()
        lines = [request.json for request in hook.requests if "text" in request.json]

        assert sorted(line.get("channel", "") for line in lines) == ["", "#ops"]
        assert {(line["icon_emoji"], line["username"]) for line in lines} == {(":gear:", "syftnotify")}
        assert len(hook.requests) == 3
        assert [mail.to for mail in server.committed] == ["site@clinic.example"]


def test_alert_without_possible_recipient_is_explained(box: Box, hook: WebServer) -> None:
    """N17: there is no mail, and no transport has a default recipient."""
    box.configure({"transports": {"team": {"type": "slack", "url": hook.url}}, "routes": []})
    emit_event(box, "job_failed", "run/1", alerts={"recipients": []})
    box.scan()

    assert hook.requests or "not sent" in box.notify("why", "run/1", check=0).stdout


@pytest.mark.parametrize(
    "spelling", ["job_cancelled", "job_canceled", "cancelled", "canceled", "JOB_CANCELED", "reservation_canceled"]
)
def test_cancelled_is_accepted_in_both_spellings(box: Box, hook: WebServer, spelling: str) -> None:
    """G23, C02: in routes and events; what is sent has two l."""
    box.configure({"transports": {"hook": {"type": "webhook", "url": hook.url, "events": [spelling]}}, "routes": []})
    emit_event(box, spelling)
    box.scan()
    (request,) = hook.requests

    assert request.json["event"] == ("reservation_cancelled" if "reservation" in spelling else "job_cancelled")


STRANGER = "stranger@far.example"


def test_alerts_block_notifies_allowed_recipients_only(box: Box, tree: Tree, hook: WebServer) -> None:
    """N12, N15, X05, X11: the submitter is always allowed; `notify why` names the others."""
    allowed = {"recipients": {"allow": ["*@lab.example"]}}
    start_with(box, tree, {"transports": one_of_each_type(hook), "routes": NO_ROUTE_MATCHES, **allowed})
    fail_job(box, tree, alerts={"recipients": [STRANGER, "#jobs", "hook", ANA, BO]})

    assert hook.requests == []
    assert sorted((mail.to, mail.subject) for mail in box.mails()) == [(who, "FAILED survey") for who in (ANA, BO)]
    why = join_lines(box.notify("why", "survey", check=0).stdout)
    for refused in (STRANGER, "#jobs", "hook"):
        assert f"guest {refused}: not sent: requested by the job only; add it to `recipients.allow` to permit it" in why


@pytest.mark.parametrize(
    ("submitter", "listed"),
    [("#general@far.example", "#general@far.example"), ("\u017ftranger@far.example", "stranger@far.example")],
    ids=["a channel", "a look-alike"],
)
def test_submitter_folder_name_allows_that_address_only(
    box: Box, tree: Tree, hook: WebServer, submitter: str, listed: str
) -> None:
    """N15, X11: not a channel of that name, nor a look-alike address."""
    start_with(box, tree, {"transports": one_of_each_type(hook), "routes": NO_ROUTE_MATCHES})
    fail_job(box, tree, by=submitter, alerts={"recipients": [listed]})

    assert (hook.requests, box.mails()) == ([], [])


ENDS = ["job_completed", "job_failed", "job_timeout", "job_cancelled", "job_enabled", "job_disabled"]


@pytest.mark.parametrize(
    ("block", "notified"),
    [
        ({}, []),
        ({"alerts": {"recipients": [BO]}}, ["job_failed", "job_timeout"]),
        ({"alerts": {"recipients": [BO], "on_success": True}}, ["job_completed", "job_failed", "job_timeout"]),
        ({"alerts": {"recipients": [BO], "on_failure": False}}, []),
    ],
    ids=["none", "usual", "on_success", "no on_failure"],
)
def test_alerts_block_notifies_of_failures_unless_set_otherwise(
    box: Box, block: dict[str, Any], notified: list[str]
) -> None:
    """N12, N14, N22: success on request; cancelled, enabled and disabled never."""
    box.configure({"routes": NO_ROUTE_MATCHES})
    for kind in ENDS:
        emit_event(box, kind, kind, **block)
    box.scan()

    assert sorted((mail.event, mail.to) for mail in box.mails()) == [(kind, BO) for kind in notified]


@pytest.mark.parametrize("has_defaults", [True, False])
def test_alerts_block_without_recipients_uses_transport_defaults(box: Box, hook: WebServer, has_defaults: bool) -> None:
    """N17: each `default_recipient`; if none is set, the owner by mail."""
    transports = one_of_each_type(hook)
    if has_defaults:
        transports["box"]["default_recipient"] = BO
        transports["team"]["default_recipient"] = "#jobs"
    box.configure({"transports": transports, "routes": NO_ROUTE_MATCHES})
    emit_event(box, "job_failed", alerts={"recipients": []})
    box.scan()

    assert [request.json["channel"] for request in hook.requests] == (["#jobs"] if has_defaults else [])
    assert [mail.to for mail in box.mails()] == [BO if has_defaults else OWNER]
