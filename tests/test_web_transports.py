"""Slack, Discord and webhooks, against a real server that records every request."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook as Verifier

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.ports import Transport
from syftnotify.rendering.links import Links
from syftnotify.services.settings import load
from syftnotify.services.test_send import send_test
from syftnotify.services.transports import transport_infos
from syftnotify.transports.discord.renderer import CONTENT_LIMIT, DiscordRenderer, length
from syftnotify.transports.webhook.sending import signature
from tests.fakes.mailserver import HOST, Authority, authority
from tests.fakes.web import Answer, Web, babbles, closes, drips, floods, hangs, resets, says, web
from tests.support import Box, transport_for, transport_settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PASSWORD = "pä:ss@wörd"
NOW = 1_800_000_000.0
HELLO = Message(
    id="m1",
    recipient="#jobs",
    subject="job_failed",
    text="it &lt;failed&gt;",
    colour="#a30200",
    body=b'{"a":"\xc3\xa9"}',
)


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as server:
        yield server


@pytest.fixture
def private(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def encrypted(private: Authority) -> Iterator[Web]:
    with web(context=private.context(HOST)) as server:
        yield server


def transport(kind: str, url: str, **more: Any) -> Transport:
    section = transport_settings({"type": kind, "url": url, **more})
    return transport_for(section, clock=lambda: NOW)


def answering(httpserver: HTTPServer, text: str = "") -> str:
    """The address of a server that answers 200."""
    httpserver.expect_request("/x", method="POST").respond_with_data(text)
    return str(httpserver.url_for("/x"))


def failed(transport: Transport) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        transport.send(HELLO)
    return caught.value


both = pytest.mark.parametrize("kind", ["slack", "webhook"])
each_web = pytest.mark.parametrize("kind", ["slack", "discord", "webhook"])


# -- what both promise -----------------------------------------------------------------------------------------------

_TABLE: list[Any] = [
    *(pytest.param(says(status, "no"), Failure.PERMANENT, id=str(status)) for status in (400, 401, 403, 404, 413, 418)),
    *(
        pytest.param(says(status, Location="/elsewhere"), Failure.PERMANENT, id=str(status))
        for status in (301, 302, 307, 308)
    ),
    *(pytest.param(says(status), Failure.TEMPORARY, id=str(status)) for status in (408, 425, 429, 501, 503)),
    *(pytest.param(says(status), Failure.UNKNOWN, id=str(status)) for status in (500, 502, 504)),
    pytest.param(says(410, "gone"), Failure.GONE, id="410"),
    pytest.param(closes, Failure.UNKNOWN, id="closes"),
    pytest.param(resets, Failure.UNKNOWN, id="resets"),
    pytest.param(babbles, Failure.UNKNOWN, id="babbles"),
    pytest.param(hangs, Failure.UNKNOWN, id="hangs"),
    pytest.param(drips, Failure.UNKNOWN, id="drips"),
]


def _limit(answer: Answer) -> int:
    """Seconds that a send may take. Short only where the answer never comes; a busy machine needs some for the rest."""
    return 3 if answer in {hangs, drips} else 30


@both
@pytest.mark.parametrize(("answer", "failure"), _TABLE)
def test_each_answer_means_what_the_table_says_and_is_one_request(
    server: Web, kind: str, answer: Answer, failure: Failure
) -> None:
    """X03, G04, G09, N05: and the text names the host alone, for the path is the password."""
    server.usual = answer
    error = failed(transport(kind, server.url, timeout_secs=_limit(answer)))

    assert error.failure is failure
    assert len(server.requests) == 1
    assert "127.0.0.1" in str(error)
    assert "secret-path" not in str(error)


@pytest.mark.parametrize(("answer", "failure"), _TABLE)
def test_each_answer_means_the_same_where_all_is_encrypted(
    encrypted: Web, private: Authority, answer: Answer, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X03"""
    monkeypatch.setenv("SSL_CERT_FILE", str(private.file))
    encrypted.usual = answer

    assert failed(transport("webhook", encrypted.url, timeout_secs=_limit(answer))).failure is failure
    assert len(encrypted.requests) == 1


def test_whoever_is_not_trusted_is_sent_nothing(
    encrypted: Web, private: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trusted are those whom the variables of OpenSSL name and, without these, those whom Mozilla does."""
    (tmp_path / "nobody").mkdir()
    doubtful: dict[str, str] = {"SSL_CERT_DIR": str(tmp_path / "nobody"), "SSL_CERT_FILE": str(tmp_path / "missing")}
    for name, value in [("SSL_CERT_FILE", ""), *doubtful.items()]:
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            assert failed(transport("webhook", encrypted.url)).failure is Failure.UNREACHABLE
            why = "SSL_CERT_FILE or SSL_CERT_DIR names" if "missing" in value else "127.0.0.1 could not be reached"
            with pytest.raises(DeliveryError, match=why):
                transport("webhook", encrypted.url).check()
    assert encrypted.requests == []

    monkeypatch.setenv("SSL_CERT_FILE", str(private.file))
    transport("webhook", encrypted.url).check()
    transport("webhook", encrypted.url).send(HELLO)
    assert [request.body for request in encrypted.requests] == [HELLO.body]


@each_web
def test_the_moment_that_the_other_side_names_is_kept(server: Web, kind: str) -> None:
    """G10"""
    server.usual = says(429, Retry_After="120")
    error = failed(transport(kind, server.url))

    assert error.not_before == datetime.fromtimestamp(NOW + 120, UTC)


@each_web
def test_a_server_that_is_down_was_sent_nothing(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    error = failed(transport(kind, f"http://127.0.0.1:{port}/x"))

    assert error.failure is Failure.UNREACHABLE


@each_web
def test_a_name_that_does_not_exist_was_sent_nothing(kind: str) -> None:
    assert failed(transport(kind, "https://hooks.invalid/x")).failure is Failure.UNREACHABLE


@each_web
def test_checking_sends_nothing(server: Web, kind: str) -> None:
    transport(kind, server.url).check()

    assert server.requests == []
    with pytest.raises(DeliveryError) as caught:
        transport(kind, "https://hooks.invalid/x").check()
    assert caught.value.failure is Failure.UNREACHABLE


@each_web
def test_nothing_that_can_be_printed_shows_the_address(server: Web, kind: str) -> None:
    """N03"""
    made = transport(kind, server.url)

    assert "secret-path" not in repr(made)
    assert "secret-path" not in repr(getattr(made, "_settings", None))


# -- Slack -----------------------------------------------------------------------------------------------------------


def test_a_line_has_its_text_its_colour_and_who_it_comes_from(httpserver: HTTPServer) -> None:
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
def test_slack_failure_is_what_slack_names(server: Web, status: int, reason: str, failure: Failure) -> None:
    """A3: a reason that concerns one recipient pauses nothing, one that concerns the webhook does."""
    server.usual = says(status, reason)

    assert failed(transport("slack", server.url)).failure is failure


@pytest.mark.parametrize("reason", ["channel_is_archived", "no_service"])
def test_webhook_failure_is_not_what_slack_would_name(server: Web, reason: str) -> None:
    """A3: these are words of Slack alone."""
    server.usual = says(410, reason)

    assert failed(transport("webhook", server.url)).failure is Failure.GONE


def test_a_page_in_the_place_of_an_answer_proves_nothing(server: Web) -> None:
    server.usual = says(200, "<html>sign in</html>")

    assert failed(transport("slack", server.url)).failure is Failure.UNKNOWN


@pytest.mark.parametrize("text", ["ok", '{"ok":true}', ""])
def test_what_speaks_like_slack_is_believed(server: Web, text: str) -> None:
    """Else each line would come again and again."""
    server.usual = says(200, text)
    transport("slack", server.url).send(HELLO)

    assert len(server.requests) == 1


# -- Discord ---------------------------------------------------------------------------------------------------------


def test_discord_message_has_content_colour_and_no_mentions(server: Web) -> None:
    server.usual = says(200, '{"id": "42", "content": "..."}')
    receipt = transport("discord", server.url, username="jobs").send(HELLO)

    (request,) = server.requests
    assert request.line == "POST /services/T000/secret-path?wait=true HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "content": "it &lt;failed&gt;",
        "username": "jobs",
        "embeds": [{"description": "job_failed", "color": 0xA30200}],
        "allowed_mentions": {"parse": []},
    }
    assert receipt.provider_id == "42"


def test_discord_url_keeps_its_thread_and_waits_once(server: Web) -> None:
    transport("discord", f"{server.url}?thread_id=7&wait=false").send(HELLO)

    assert server.requests[0].line.split()[1].endswith("?thread_id=7&wait=true")


@pytest.mark.parametrize(("status", "text"), [(204, ""), (200, "{}"), (200, "[]"), (200, "{"), (200, "ok")])
def test_discord_success_needs_no_message_in_the_response(server: Web, status: int, text: str) -> None:
    server.usual = says(status, text)

    assert transport("discord", server.url).send(HELLO).provider_id == ""
    assert len(server.requests) == 1


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
def test_discord_failure_by_response(server: Web, status: int, text: str, failure: Failure) -> None:
    server.usual = says(status, text)
    error = failed(transport("discord", server.url))

    assert error.failure is failure
    assert "secret-path" not in str(error)
    assert len(server.requests) == 1


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
]


@pytest.mark.parametrize(("text", "headers", "seconds"), _WAITS)
def test_discord_rate_limit_names_the_next_attempt(
    server: Web, text: str, headers: dict[str, str], seconds: int | None
) -> None:
    server.usual = says(429, text, **headers)
    expected = None if seconds is None else datetime.fromtimestamp(NOW + seconds, UTC)

    assert failed(transport("discord", server.url)).not_before == expected


@pytest.mark.parametrize("name", ["Discord jobs", "clyde", " ", "x" * 81])
def test_discord_username_that_discord_refuses_is_a_mistake(name: str) -> None:
    with pytest.raises(ValidationError, match="expected 1 to 80 characters without discord and clyde"):
        transport("discord", "https://discord.example/x", username=name)


def rendered(*events: Event, digest: str = "", job_link: str = "") -> Message:
    items = [Item(f"id-{number}", event, Audience.OWNER, Status.FAILED) for number, event in enumerate(events)]
    return DiscordRenderer(links=Links(job=job_link)).message(items, "chat", digest=digest)


def failure_of(name: str, **payload: str) -> Event:
    return Event(EventKind.JOB_FAILED, "job/x", payload={"name": name, "submitter": "ana@uni.example", **payload})


@pytest.mark.parametrize(
    "text",
    ["**bold** _it_ ~~no~~", "[x](https://evil.example)", "<@123> @everyone <#4> <:a:5>", "`code` ||spoiler||", "\\*"],
)
def test_discord_markup_in_external_text_is_escaped(text: str) -> None:
    content = rendered(failure_of(text)).text

    for found in re.finditer(r"[*_~`|<>\[\]()#@]", content):
        before = content[: found.start()]
        assert (len(before) - len(before.rstrip("\\"))) % 2 == 1, content


def test_discord_link_has_no_preview_and_cannot_be_left() -> None:
    content = rendered(failure_of("a)>[b"), job_link="https://box.example/{job}?x=(1)").text

    assert content.endswith("[View run](<https://box.example/a%29%3E%5Bb?x=%281%29>)")


@pytest.mark.parametrize("name", ["x" * 5000, "*" * 5000, "\U0001f600" * 5000, "\u202e" * 5000])
def test_discord_message_stays_below_the_limit(name: str) -> None:
    single = rendered(failure_of(name, stderr=name), job_link="https://box.example/{job}")
    digest = rendered(*(failure_of(f"{number}{name}", stderr=name) for number in range(50)), digest="d1")

    for message in (single, digest):
        assert 0 < length(message.text) <= CONTENT_LIMIT
    assert re.search(r"\nand \d+ more lines$", digest.text)


def test_discord_transport_is_its_own_default_recipient(box: Box, server: Web) -> None:
    box.configure({"transports": {"box": {"type": "maildir"}, "chat": {"type": "discord", "url": server.url}}})
    settings = load(box.home)
    info = transport_infos(settings.config)["chat"]

    assert (info.default_recipients, info.medium, info.for_programs) == (("chat",), "discord/chat", False)
    assert send_test(settings, "chat") == ""
    (request,) = server.requests
    assert request.json["embeds"][0]["description"] == "test"


def test_discord_digest_is_one_message(server: Web) -> None:
    message = rendered(*(failure_of(f"job-{number}") for number in range(3)), digest="d1")
    transport("discord", server.url).send(message)

    (request,) = server.requests
    assert message.id == "d1"
    assert request.json["content"].count("\n") == 2
    assert request.json["embeds"][0]["description"] == "3 things"


# -- webhooks --------------------------------------------------------------------------------------------------------


def test_a_request_carries_the_body_the_headers_and_its_id(httpserver: HTTPServer) -> None:
    """G04, G08, N09"""
    headers = {"Authorization": "Bearer t", "X-Team": "data"}
    transport("webhook", answering(httpserver), headers=headers).send(HELLO)

    ((request, _),) = httpserver.log
    assert request.method == "POST"
    assert request.get_data() == HELLO.body
    assert request.headers["authorization"] == "Bearer t"
    assert request.headers["x-team"] == "data"
    assert request.headers["webhook-id"] == "m1"
    assert "webhook-signature" not in request.headers


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_")])
def test_a_signature_is_what_its_standard_says(httpserver: HTTPServer, secret: str) -> None:
    """By the verifier of those who made the standard, which also asks that it be fresh."""
    url = answering(httpserver)
    section = transport_settings({"type": "webhook", "url": url, "secret": secret})
    transport_for(section).send(HELLO)

    ((request, _),) = httpserver.log
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert Verifier(SECRET).verify(request.get_data(), headers) == {"a": "é"}


def test_a_secret_may_be_any_text(httpserver: HTTPServer) -> None:
    """And is then taken as it is, in UTF-8."""
    transport("webhook", answering(httpserver), secret="žluť").send(HELLO)

    ((request, _),) = httpserver.log
    again = base64.b64encode("žluť".encode()).decode()
    assert request.headers["webhook-signature"] == signature(again, "m1", int(NOW), HELLO.body)


def test_a_header_of_ones_own_takes_the_place_of_ours_however_it_is_spelled(httpserver: HTTPServer) -> None:
    headers = {"CONTENT-type": "application/cloudevents+json", "User-agent": "me", "Webhook-Id": "mine"}
    transport("webhook", answering(httpserver), headers=headers).send(HELLO)

    ((request, _),) = httpserver.log
    sent = {name: request.headers.getlist(name) for name in ("content-type", "user-agent", "webhook-id")}
    assert sent == {"content-type": ["application/cloudevents+json"], "user-agent": ["me"], "webhook-id": ["m1"]}


def test_a_header_that_cannot_be_sent_is_refused_at_load() -> None:
    with pytest.raises(ValidationError, match="in ASCII"):
        transport("webhook", "https://hooks.example/x", headers={"X-Team": "žluť"})


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "HOST"])
def test_a_header_that_would_break_the_request_is_refused_at_load(name: str) -> None:
    """G04"""
    with pytest.raises(ValidationError, match="remove this header"):
        transport("webhook", "https://hooks.example/x", headers={name: "7"})


@each_web
def test_what_a_proxy_refuses_was_not_handed_over(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """X03: it was asked to connect, and told nothing else."""
    with web(says(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.rpartition("/services")[0])
        error = failed(transport(kind, "https://hooks.invalid/x"))

    assert error.failure is Failure.UNREACHABLE
    assert [request.line for request in proxy.requests] == ["CONNECT hooks.invalid:443 HTTP/1.1"]


@each_web
def test_check_goes_through_the_proxy_and_sends_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: the name is looked up by the proxy, as when sending."""
    with web(says(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.rpartition("/services")[0])
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(DeliveryError):
            transport(kind, "https://hooks.invalid/x").check()
        monkeypatch.setenv("NO_PROXY", "hooks.invalid")
        with pytest.raises(DeliveryError):
            transport(kind, "https://hooks.invalid/x").check()

    assert [request.line for request in proxy.requests] == ["CONNECT hooks.invalid:443 HTTP/1.1"]


def test_check_of_plain_http_connects_to_the_proxy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """B6"""
    with web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.rpartition("/services")[0])
        transport("webhook", "http://hooks.invalid/x").check()

    assert proxy.requests == []


def test_check_through_a_proxy_ends_when_the_target_is_encrypted(
    encrypted: Web, private: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6: the certificate of the target is verified, and nothing is sent."""
    target = urlsplit(encrypted.url)

    def tunnel(connection: socket.socket) -> None:
        says(200)(connection)
        with socket.create_connection((HOST, target.port or 0)) as beyond:
            pipe = threading.Thread(target=_copy, args=(beyond, connection), daemon=True)
            pipe.start()
            _copy(connection, beyond)
            pipe.join()

    with web(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.rpartition("/services")[0])
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(DeliveryError):
            transport("webhook", encrypted.url).check()
        monkeypatch.setenv("SSL_CERT_FILE", str(private.file))
        transport("webhook", encrypted.url).check()
        assert encrypted.requests == []
        transport("webhook", encrypted.url).send(HELLO)

    assert len(encrypted.requests) == 1
    assert len(proxy.requests) == 3


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def test_plain_http_goes_through_the_proxy_that_is_named_and_signs_in_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.rpartition("/services")[0].replace("://", "://mé:p%40ss@"))
        transport("webhook", "http://localhost:9/x").send(HELLO)
        for without in ("localhost", "localhost:9"):
            monkeypatch.setenv("NO_PROXY", without)
            error = failed(transport("webhook", "http://localhost:9/x"))
            assert error.failure is Failure.UNREACHABLE

    (request,) = proxy.requests
    assert request.line == "POST http://localhost:9/x HTTP/1.1"
    assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode("mé:p@ss".encode()).decode()


def test_the_way_to_a_proxy_may_be_encrypted_too(
    encrypted: Web, private: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", encrypted.url.rpartition("/services")[0])
    assert failed(transport("webhook", "http://hooks.invalid/x")).failure is Failure.UNREACHABLE

    monkeypatch.setenv("SSL_CERT_FILE", str(private.file))
    transport("webhook", "http://hooks.invalid/x").send(HELLO)
    assert [request.line for request in encrypted.requests] == ["POST http://hooks.invalid/x HTTP/1.1"]


@both
@pytest.mark.parametrize(
    "proxy",
    [
        "http://[::1",
        "http://proxy.invalid:port",
        "socks5://127.0.0.1:9",
        "socks://127.0.0.1:9",
        "ftp://proxy.invalid",
        "http://",
    ],
)
def test_a_proxy_that_is_none_is_said_and_nothing_is_handed_over(
    kind: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failed(transport(kind, "https://hooks.example/secret-path"))

    assert error.failure is Failure.UNREACHABLE
    assert "hooks.example could not be reached" in str(error)
    assert "secret" not in str(error)


def test_an_address_goes_out_escaped_and_with_its_sign_in(server: Web) -> None:
    base = server.url.rpartition("/services")[0]
    transport("webhook", base.replace("://", "://me:p%40ss@") + "/a b/ü?x=%C3%A4&y=ö&z=100%?#part").send(HELLO)
    transport("webhook", base).send(replace(HELLO, body=b""))

    assert [request.line for request in server.requests] == [
        "POST /a%20b/%C3%BC?x=%C3%A4&y=%C3%B6&z=100%? HTTP/1.1",
        "POST / HTTP/1.1",
    ]
    assert [request.headers.get("authorization") for request in server.requests] == [
        "Basic " + base64.b64encode(b"me:p@ss").decode(),
        None,
    ]
    assert server.requests[1].headers["content-length"] == "0"
    assert {request.headers["host"] for request in server.requests} == {base.removeprefix("http://")}


@both
def test_a_refusal_that_repeats_an_address_in_any_of_its_forms_gives_no_secret_away(server: Web, kind: str) -> None:
    """N03: as the configuration has it, as it is meant, and as it was sent."""

    def repeats(connection: socket.socket) -> None:
        request = server.requests[-1]
        line = request.line.split()[1]
        says(403, f"{line}\n{unquote(line)}\n{request.headers['authorization']}\n{PASSWORD}")(connection)

    server.usual = repeats
    base = server.url.rpartition("/services")[0]
    url = base.replace("://", f"://me:{quote(PASSWORD)}@") + "/pfad-ü%C3%A4/zweiter%20teil?schlüssel=wört%C3%A4r"
    said = str(failed(transport(kind, url)))

    assert "answered 403" in said
    for secret in ("pfad", "zweiter", "teil", "wört", PASSWORD, base64.b64encode(f"me:{PASSWORD}".encode()).decode()):
        assert secret not in said
    assert not re.search("%[0-9A-F]{2}", said)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://bücher.example:8443/x", "xn--bcher-kva.example:8443"),
        ("http://xn--bcher-kva.example/x", "xn--bcher-kva.example"),
        ("http://straße.example/x", "xn--strae-oqa.example"),  # not strasse.example, which may belong to another
    ],
)
def test_host_with_other_letters_is_sent_by_idna_2008(url: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.rpartition("/services")[0])
        transport("webhook", url).send(HELLO)

    assert [(each.line, each.headers["host"]) for each in proxy.requests] == [(f"POST http://{sent}/x HTTP/1.1", sent)]


def test_no_proxy_with_ip_networks_is_no_mistake(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: container tools set such values; httpx's own reader fails at them."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "::1/128,fe80::/10,10.0.0.0/8,*.example,[::1],127.0.0.1")
    transport("webhook", server.url).send(HELLO)

    assert len(server.requests) == 1


def test_redirect_to_an_invalid_url_is_judged_by_its_status(server: Web) -> None:
    """X03: the server refused; the outcome is not unknown."""
    server.usual = says(302, Location="http://[::1:port")

    assert failed(transport("webhook", server.url)).failure is Failure.PERMANENT


def test_cookies_are_not_kept(server: Web) -> None:
    server.usual = says(200, "ok", Set_Cookie="session=1; Path=/")
    for _ in range(2):
        transport("webhook", server.url).send(HELLO)

    assert ["cookie" in request.headers for request in server.requests] == [False, False]


def test_requests_are_not_logged_with_their_url(server: Web, caplog: pytest.LogCaptureFixture) -> None:
    """N03"""
    caplog.set_level(logging.DEBUG)
    transport("webhook", server.url).send(HELLO)

    assert "secret-path" not in caplog.text


def test_configured_authorization_replaces_that_of_the_url(server: Web) -> None:
    url = server.url.replace("://", "://me:secret@")
    transport("webhook", url, headers={"Authorization": "Bearer t"}).send(HELLO)

    assert server.requests[0].headers["authorization"] == "Bearer t"


def test_an_answer_without_an_end_is_not_read_to_its_end(server: Web) -> None:
    server.usual = floods
    transport("webhook", server.url, timeout_secs=30).send(HELLO)

    assert len(server.requests) == 1
