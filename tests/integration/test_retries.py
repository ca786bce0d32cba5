"""How often each transport retries, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.deliveries import one_of_each_type, scan_later, smtp_transport, start_with
from tests.fakes import google
from tests.fakes.mailserver import reply as replies
from tests.fakes.mailserver import serve_mail
from tests.fakes.web import WebServer, respond, serve_web
from tests.queries import emit_event, json_list, outbox_counts
from tests.support import ANA, BO, OWNER, Box, scan_for_hours, tally
from tests.trees import Tree


@pytest.mark.parametrize("kind", ["webhook", "slack"])
def test_webhook_and_slack_retry_three_times(box: Box, hook: WebServer, kind: str) -> None:
    """G05, G10, N05: after a temporary refusal, unless `max_retries` is set; then it is a dead letter."""
    hook.default = respond(503)
    box.configure({"transports": {"target": {"type": kind, "url": hook.url}}, "routes": [{"via": "target"}]})
    emit_event(box, "job_failed")
    scan_for_hours(box, 5)

    assert len(hook.requests) == 4
    assert outbox_counts(box) == tally(dead=1)


HOUR = 3600.0


@pytest.mark.thorough
def test_mail_is_retried_for_72_hours(box: Box) -> None:
    """G10, N07: mail has no limit of retries unless one is set."""
    with serve_mail() as server:
        server.default["RCPT"] = replies("451 4.3.0 later")
        box.configure({"transports": {"office": smtp_transport(server)}})
        emit_event(box, "job_failed")
        for _ in range(24):
            box.scan()
            box.clock.advance(3 * HOUR)
        assert outbox_counts(box) == tally(waiting=1, failed=1)
        box.scan()
        assert outbox_counts(box) == tally(dead=1)
        assert server.attempts == 25


def test_max_retries_zero_makes_temporary_refusal_final(box: Box, hook: WebServer) -> None:
    """G10: for webhooks and for mail."""
    hook.default = respond(503)
    with serve_mail() as server:
        server.default["RCPT"] = replies("451 4.3.0 later")
        once = {"max_retries": 0}
        transports = {"hook": {"type": "webhook", "url": hook.url, **once}, "office": smtp_transport(server, **once)}
        box.configure({"transports": transports, "routes": [{"to": ["hook", "owner"]}]})
        emit_event(box, "job_failed")
        scan_for_hours(box, 5)
        assert (len(hook.requests), server.attempts) == (1, 1)
    assert outbox_counts(box) == tally(dead=2)


@pytest.mark.parametrize(("retries", "state"), [(0, "dead"), (3, "pending")])
def test_unreachable_server_pauses_the_transport(box: Box, retries: int, state: str) -> None:
    """G10: and uses up no retry; with `max_retries: 0` the notification is dead."""
    with serve_web() as server:
        url = server.url
    box.configure(
        {"transports": {"hook": {"type": "webhook", "url": url, "max_retries": retries}}, "routes": [{"to": ["hook"]}]}
    )
    emit_event(box, "job_failed")
    scan_for_hours(box, 5)

    (notification,) = json_list(box, "history")
    assert notification["state"] == state
    assert (notification["attempts"] == 1) is (retries == 0)


def test_permanent_refusal_is_final_after_one_request(box: Box, hook: WebServer) -> None:
    """G10: another 4xx, or 5yz of a mail server, whatever `max_retries` is."""
    hook.default = respond(404, "no_service")
    with serve_mail() as server:
        server.default["RCPT"] = replies("550 5.1.1 no such user")
        smtp = {**one_of_each_type(hook), "box": smtp_transport(server)}
        transports = {name: {**transport, "max_retries": 100} for name, transport in smtp.items()}
        box.configure({"transports": transports, "routes": [{"to": ["hook", "#jobs", "owner"]}]})
        emit_event(box, "job_failed")
        scan_for_hours(box, 5)
        assert (len(hook.requests), server.attempts) == (2, 1)
    assert outbox_counts(box) == tally(dead=3)


@pytest.mark.parametrize(
    ("on_unknown", "kind", "status"),
    [
        ("resend", "webhook", 500),
        ("hold", "gmail", 502),
        *(
            pytest.param(on_unknown, kind, status, marks=pytest.mark.thorough)
            for on_unknown in ("resend", "hold")
            for kind in ("webhook", "gmail")
            for status in (500, 502, 504)
        ),
    ],
)
def test_unknown_outcome_is_resent_with_one_id_or_held(box: Box, kind: str, on_unknown: str, status: int) -> None:
    """`max_retries` times with the same id and counted, or held."""
    with serve_web(respond(status)) as hook, google.serve_google() as gmail:
        gmail.default = google.respond_html(status)
        transport: dict[str, Any] = {"type": "webhook", "url": hook.url}
        if kind == "gmail":
            transport = {"type": "gmail", "token": "gmail_token.json", "api_endpoint": gmail.url}
            gmail.write_token(box.home.token)
        box.configure(
            {
                "transports": {"target": {**transport, "max_retries": 2, "on_unknown": on_unknown}},
                "routes": [{"via": "target"}],
            }
        )
        emit_event(box, "job_failed")
        scan_for_hours(box, 8)
        ids = [request.headers["webhook-id"] for request in hook.requests]
        ids += [str(post.mail["Message-ID"]) for post in gmail.posts]

    is_held = on_unknown == "hold"
    assert (len(ids), len(set(ids))) == (1 if is_held else 3, 1)
    assert outbox_counts(box, holding=["target"] if is_held else []) == (
        tally(unknown=1, held=1) if is_held else tally(unknown=3, dead=1)
    )


@pytest.mark.thorough
def test_unknown_outcome_is_held_without_retries(box: Box, hook: WebServer) -> None:
    """Whatever `max_retries` is: a user decides."""
    hook.responses = [respond(500)]
    target = {"type": "webhook", "url": hook.url, "max_retries": 0, "on_unknown": "hold"}
    box.configure({"transports": {"target": target}, "routes": [{"via": "target"}]})
    emit_event(box, "job_failed")
    scan_for_hours(box, 80)

    assert outbox_counts(box, holding=["target"]) == tally(unknown=1, held=1)


def test_retry_after_header_is_honoured(box: Box, hook: WebServer) -> None:
    """G10: here two hours."""
    hook.responses = [respond(429, Retry_After="7200")]
    box.configure({"transports": {"hook": {"type": "webhook", "url": hook.url}}, "routes": [{"to": ["hook"]}]})
    emit_event(box, "job_failed")
    box.scan()
    scan_later(box, 7199)
    assert len(hook.requests) == 1
    scan_later(box, 1)
    assert len(hook.requests) == 2
    assert outbox_counts(box) == tally(sent=1)


def test_unreachable_workspace_delays_no_other_of_the_same_channel(box: Box, hook: WebServer) -> None:
    """G03, C12: each target has its own queue."""
    with serve_web(respond(503)) as dead:
        transports = {"old": {"type": "slack", "url": dead.url}, "new": {"type": "slack", "url": hook.url}}
        routes = [{"to": ["#jobs"], "via": "old", "continue": True}, {"to": ["#jobs"], "via": "new"}]
        box.configure({"transports": transports, "routes": routes})
        emit_event(box, "job_failed")
        box.scan()
        assert (len(dead.requests), len(hook.requests)) == (1, 1)


def test_gmail_smtp_and_maildir_are_one_medium(box: Box) -> None:
    """N20: one address, one mail, for any number of routes and requests, in any letter case."""
    with google.serve_google() as gmail, serve_mail() as server:
        transports = {
            "gmail": {"type": "gmail", "token": "gmail_token.json", "api_endpoint": gmail.url},
            "office": smtp_transport(server),
            "box": {"type": "maildir"},
        }
        routes = [{"to": [BO.upper(), BO], "via": name, "continue": True} for name in reversed(transports)]
        box.configure({"transports": transports, "routes": routes})
        gmail.write_token(box.home.token)
        emit_event(box, "job_failed", notify_emails=[BO.title()], alerts={"recipients": [BO]})
        scan_later(box)
        scan_later(box)

        assert [mail.to for mail in box.mails()] == [BO]
        assert (len(gmail.posts), len(server.committed)) == (0, 0)


def test_delayed_events_of_a_job_arrive_in_order(box: Box, tree: Tree) -> None:
    """S01, X01: after an hour without delivery all are sent, the oldest first."""
    with serve_mail() as server:
        start_with(box, tree, {"transports": {"office": smtp_transport(server)}})
        server.default["RCPT"] = replies("451 4.3.0 later")
        steps: tuple[Callable[[str, str], None], ...] = (tree.submit, tree.approve, tree.run)
        for step in steps:
            step("survey", ANA)
            scan_later(box, 20 * 60)
        assert server.committed == []
        server.clear_faults()
        scan_later(box, HOUR)
        notified = [(mail.to, mail.event) for mail in server.committed]

    assert [event for who, event in notified if who == ANA] == ["job_submitted", "job_approved", "job_completed"]
    assert [event for who, event in notified if who == OWNER] == ["job_submitted", "job_completed"]
    assert len(notified) == 5
