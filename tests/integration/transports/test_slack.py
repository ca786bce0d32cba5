"""The Slack transport."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from syftnotify.core.errors import Failure
from tests.fakes.web import WebServer, respond
from tests.integration.transports.web_clients import (
    HELLO,
    answering,
    failed,
    transport,
)


def test_slack_message_has_text_colour_and_sender(httpserver: HTTPServer) -> None:
    """N05, N06"""
    transport("slack", answering(httpserver, "ok"), username="jobs", icon_emoji=":robot_face:").send(HELLO)

    ((request, _),) = httpserver.log
    assert request.json == {
        "text": "it &lt;failed&gt;",
        "attachments": [{"color": "#a30200", "fallback": "it &lt;failed&gt;", "footer": "job_failed"}],
        "username": "jobs",
        "icon_emoji": ":robot_face:",
        "channel": "#jobs",
    }
    assert request.headers["content-type"] == "application/json"


_REASONS: list[Any] = [
    (410, "channel_is_archived", Failure.PERMANENT),
    (404, "channel_not_found", Failure.PERMANENT),
    (404, "user_not_found\n", Failure.PERMANENT),
    (403, "posting_to_general_channel_denied", Failure.PERMANENT),
    (400, "too_many_attachments", Failure.PERMANENT),
    (404, "no_service", Failure.GONE),
    (404, "no_active_hooks", Failure.GONE),
    (403, "invalid_token", Failure.GONE),
    (403, "action_prohibited", Failure.PERMANENT),
    (404, "no_team", Failure.GONE),
    (403, "team_disabled", Failure.GONE),
    (403, '{"ok": false, "error": "invalid_token"}', Failure.GONE),
    (410, "gone", Failure.GONE),
    (404, "what?", Failure.PERMANENT),
    (429, '{"ok": false, "error": ["rate_limited"]}', Failure.TEMPORARY),
    (429, "{", Failure.TEMPORARY),
    (200, "channel_not_found", Failure.PERMANENT),
]


@pytest.mark.parametrize(("status", "reason", "failure"), _REASONS)
def test_slack_failure_is_what_slack_names(web_server: WebServer, status: int, reason: str, failure: Failure) -> None:
    """A3: a reason that concerns one recipient pauses nothing, one that concerns the webhook does."""
    web_server.default = respond(status, reason)

    assert failed(transport("slack", web_server.url)).failure is failure


def test_slack_answer_that_is_a_page_is_unknown(web_server: WebServer) -> None:
    web_server.default = respond(200, "<html>sign in</html>")

    assert failed(transport("slack", web_server.url)).failure is Failure.UNKNOWN


@pytest.mark.parametrize("text", ["ok", '{"ok":true}', ""])
def test_slack_answer_in_each_form_is_a_success(web_server: WebServer, text: str) -> None:
    """Else each line would come again and again."""
    web_server.default = respond(200, text)
    transport("slack", web_server.url).send(HELLO)

    assert len(web_server.requests) == 1
