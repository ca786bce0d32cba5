"""The Discord transport and its renderer."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.rendering.links import Links
from syftnotify.services.settings import load
from syftnotify.services.test_send import send_test
from syftnotify.services.transports import transport_infos
from syftnotify.transports.discord.renderer import CONTENT_LIMIT, DiscordRenderer, length
from tests.fakes.web import WebServer, respond
from tests.integration.transports.web_clients import (
    HELLO,
    NOW,
    failed,
    transport,
)
from tests.support import Box


def test_discord_message_has_content_colour_and_no_mentions(web_server: WebServer) -> None:
    web_server.default = respond(200, '{"id": "42", "content": "..."}')
    receipt = transport("discord", web_server.url, username="jobs").send(HELLO)

    (request,) = web_server.requests
    assert request.line == "POST /services/T000/secret-path?wait=true HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "content": "it &lt;failed&gt;",
        "username": "jobs",
        "embeds": [{"description": "job_failed", "color": 0xA30200}],
        "allowed_mentions": {"parse": []},
    }
    assert receipt.provider_id == "42"


def test_discord_url_keeps_its_thread_and_waits_once(web_server: WebServer) -> None:
    transport("discord", f"{web_server.url}?thread_id=7%20&wait=false").send(HELLO)

    assert web_server.requests[0].line.split()[1].endswith("?thread_id=7%20&wait=true")


@pytest.mark.parametrize(("status", "text"), [(204, ""), (200, "{}"), (200, "[]"), (200, "{"), (200, "ok")])
def test_discord_success_needs_no_message_in_the_response(web_server: WebServer, status: int, text: str) -> None:
    web_server.default = respond(status, text)

    assert transport("discord", web_server.url).send(HELLO).provider_id == ""
    assert len(web_server.requests) == 1


_DISCORD_FAILURES: list[Any] = [
    (401, '{"message": "Invalid Webhook Token", "code": 50027}', Failure.GONE),
    (404, '{"message": "Unknown Webhook", "code": 10015}', Failure.GONE),
    (410, "", Failure.GONE),
    (400, '{"content": ["Must be 2000 or fewer in length."]}', Failure.PERMANENT),
    (403, "", Failure.PERMANENT),
    (429, '{"message": "You are being rate limited.", "retry_after": 0.5, "global": false}', Failure.TEMPORARY),
    (500, "", Failure.UNKNOWN),
    (502, "", Failure.UNKNOWN),
    (503, "", Failure.TEMPORARY),
    (200, "<html>sign in</html>", Failure.UNKNOWN),
]


@pytest.mark.parametrize(("status", "text", "failure"), _DISCORD_FAILURES)
def test_discord_failure_by_response(web_server: WebServer, status: int, text: str, failure: Failure) -> None:
    web_server.default = respond(status, text)
    error = failed(transport("discord", web_server.url))

    assert error.failure is failure
    assert "secret-path" not in str(error)
    assert len(web_server.requests) == 1


_WAITS: list[Any] = [
    pytest.param('{"retry_after": 64.57}', {}, 65, id="body"),
    pytest.param('{"retry_after": 1.5, "global": true}', {"Retry_After": "2"}, 2, id="body-and-header"),
    pytest.param("blocked", {"Retry_After": "120"}, 120, id="header-only"),
    pytest.param("{}", {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset_After": "8.2"}, 9, id="bucket"),
    pytest.param(
        '{"retry_after": 1}', {"X_RateLimit_Remaining": "4", "X_RateLimit_Reset_After": "99"}, 1, id="bucket-not-empty"
    ),
    pytest.param('{"retry_after": "soon"}', {}, None, id="text"),
    pytest.param('{"retry_after": -1}', {}, None, id="negative"),
    pytest.param('{"retry_after": NaN}', {}, None, id="nan"),
    pytest.param('{"retry_after": true}', {}, None, id="bool"),
    pytest.param('{"retry_after": 1e300}', {}, 7 * 86400, id="huge"),
    pytest.param(f'{{"retry_after": 1{"0" * 400}}}', {}, None, id="huge-integer"),
]


@pytest.mark.parametrize(("text", "headers", "seconds"), _WAITS)
def test_discord_rate_limit_names_the_next_attempt(
    web_server: WebServer, text: str, headers: dict[str, str], seconds: int | None
) -> None:
    web_server.default = respond(429, text, **headers)
    expected = None if seconds is None else datetime.fromtimestamp(NOW + seconds, UTC)

    assert failed(transport("discord", web_server.url)).not_before == expected


@pytest.mark.parametrize("name", ["Discord jobs", "clyde", " ", "x" * 81])
def test_discord_username_that_discord_refuses_is_a_mistake(name: str) -> None:
    with pytest.raises(ValidationError, match="expected 1 to 80 characters without discord and clyde"):
        transport("discord", "https://discord.example/x", username=name)


def rendered(*events: Event, digest: str = "", job_link: str = "") -> Message:
    items = [Item(f"id-{number}", event, Audience.OWNER, Status.FAILED) for number, event in enumerate(events)]
    return DiscordRenderer(links=Links(job=job_link)).message(items, "chat", digest=digest)


def failed_job(name: str, **payload: str) -> Event:
    return Event(EventKind.JOB_FAILED, "job/x", payload={"name": name, "submitter": "ana@uni.example", **payload})


@pytest.mark.parametrize(
    "text",
    ["**bold** _it_ ~~no~~", "[x](https://evil.example)", "<@123> @everyone <#4> <:a:5>", "`code` ||spoiler||", "\\*"],
)
def test_discord_markup_in_external_text_is_escaped(text: str) -> None:
    content = rendered(failed_job(text)).text

    for found in re.finditer(r"[*_~`|<>\[\]()#@]", content):
        before = content[: found.start()]
        assert (len(before) - len(before.rstrip("\\"))) % 2 == 1, content


def test_discord_link_has_no_preview_and_cannot_be_left() -> None:
    content = rendered(failed_job("a)>[b"), job_link="https://box.example/{job}?x=(1)").text

    assert content.endswith("[View run](<https://box.example/a%29%3E%5Bb?x=%281%29>)")


@pytest.mark.parametrize("name", ["x" * 5000, "*" * 5000, "\U0001f600" * 5000, "\u202e" * 5000])
def test_discord_message_stays_below_the_limit(name: str) -> None:
    single = rendered(failed_job(name, stderr=name), job_link="https://box.example/{job}")
    digest = rendered(*(failed_job(f"{number}{name}", stderr=name) for number in range(50)), digest="d1")

    for message in (single, digest):
        assert 0 < length(message.text) <= CONTENT_LIMIT
    assert re.search(r"\nand \d+ more lines$", digest.text)


def test_discord_transport_is_its_own_default_recipient(box: Box, web_server: WebServer) -> None:
    box.configure({"transports": {"box": {"type": "maildir"}, "chat": {"type": "discord", "url": web_server.url}}})
    settings = load(box.home)
    info = transport_infos(settings.config)["chat"]

    assert (info.default_recipients, info.medium, info.for_programs) == (("chat",), "discord/chat", False)
    assert send_test(settings, "chat") == ""
    (request,) = web_server.requests
    assert request.json["embeds"][0]["description"] == "test"


def test_discord_digest_is_one_message(web_server: WebServer) -> None:
    message = rendered(*(failed_job(f"job-{number}") for number in range(3)), digest="d1")
    transport("discord", web_server.url).send(message)

    (request,) = web_server.requests
    assert message.id == "d1"
    assert request.json["content"].count("\n") == 2
    assert request.json["embeds"][0]["description"] == "3 notifications"
