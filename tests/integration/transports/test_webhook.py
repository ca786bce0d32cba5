"""The webhook transport: headers, signature, URL."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook as Verifier

from syftnotify.core.errors import Failure
from syftnotify.transports.webhook.sending import signature
from tests.fakes.web import WebServer, flood, respond
from tests.integration.transports.web_clients import (
    HELLO,
    NOW,
    answering,
    failed,
    transport,
)
from tests.support import transport_for, transport_settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("reason", ["channel_is_archived", "no_service"])
def test_webhook_failure_is_not_what_slack_would_name(web_server: WebServer, reason: str) -> None:
    """A3: these are words of Slack alone."""
    web_server.default = respond(410, reason)

    assert failed(transport("webhook", web_server.url)).failure is Failure.GONE


def test_webhook_request_has_body_headers_and_id(httpserver: HTTPServer) -> None:
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
def test_webhook_signature_is_accepted_by_standard_webhooks(httpserver: HTTPServer, secret: str) -> None:
    """By the verifier of those who made the standard, which also asks that it be fresh."""
    url = answering(httpserver)
    section = transport_settings({"type": "webhook", "url": url, "secret": secret})
    transport_for(section).send(HELLO)

    ((request, _),) = httpserver.log
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert Verifier(SECRET).verify(request.get_data(), headers) == {"a": "é"}


def test_webhook_secret_may_be_any_text(httpserver: HTTPServer) -> None:
    """And is then taken as it is, in UTF-8."""
    transport("webhook", answering(httpserver), secret="žluť").send(HELLO)

    ((request, _),) = httpserver.log
    again = base64.b64encode("žluť".encode()).decode()
    assert request.headers["webhook-signature"] == signature(again, "m1", int(NOW), HELLO.body)


def test_webhook_configured_header_replaces_the_default(httpserver: HTTPServer) -> None:
    headers = {"CONTENT-type": "application/cloudevents+json", "User-agent": "me", "Webhook-Id": "mine"}
    transport("webhook", answering(httpserver), headers=headers).send(HELLO)

    ((request, _),) = httpserver.log
    sent = {name: request.headers.getlist(name) for name in ("content-type", "user-agent", "webhook-id")}
    assert sent == {"content-type": ["application/cloudevents+json"], "user-agent": ["me"], "webhook-id": ["m1"]}


def test_webhook_header_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(ValidationError, match="in ASCII"):
        transport("webhook", "https://hooks.example/x", headers={"X-Team": "žluť"})


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "HOST"])
def test_webhook_header_that_breaks_the_request_is_refused(name: str) -> None:
    """G04"""
    with pytest.raises(ValidationError, match="remove this header"):
        transport("webhook", "https://hooks.example/x", headers={name: "7"})


def test_webhook_url_is_sent_escaped_with_its_credentials(web_server: WebServer) -> None:
    base = web_server.url.rpartition("/services")[0]
    transport("webhook", base.replace("://", "://me:p%40ss@") + "/a b/ü/../b?x=%C3%A4&y=ö|&z=100%#part").send(HELLO)
    transport("webhook", base).send(replace(HELLO, body=b""))

    assert [request.line for request in web_server.requests] == [
        "POST /a%20b/%C3%BC/../b?x=%C3%A4&y=%C3%B6%7C&z=100%25 HTTP/1.1",
        "POST / HTTP/1.1",
    ]
    assert [request.headers.get("authorization") for request in web_server.requests] == [
        "Basic " + base64.b64encode(b"me:p@ss").decode(),
        None,
    ]
    assert web_server.requests[1].headers["content-length"] == "0"
    assert {request.headers["host"] for request in web_server.requests} == {base.removeprefix("http://")}


def test_webhook_redirect_to_an_invalid_url_is_permanent(web_server: WebServer) -> None:
    """X03: the server refused; the outcome is not unknown."""
    web_server.default = respond(302, Location="http://[::1:port")

    assert failed(transport("webhook", web_server.url)).failure is Failure.PERMANENT


def test_webhook_cookies_are_not_kept(web_server: WebServer) -> None:
    web_server.default = respond(200, "ok", Set_Cookie="session=1; Path=/")
    for _ in range(2):
        transport("webhook", web_server.url).send(HELLO)

    assert ["cookie" in request.headers for request in web_server.requests] == [False, False]


def test_webhook_authorization_replaces_that_of_the_url(web_server: WebServer) -> None:
    url = web_server.url.replace("://", "://me:secret@")
    transport("webhook", url, headers={"Authorization": "Bearer t"}).send(HELLO)

    assert web_server.requests[0].headers["authorization"] == "Bearer t"


def test_webhook_endless_answer_is_not_read_to_its_end(web_server: WebServer) -> None:
    web_server.default = flood
    transport("webhook", web_server.url, timeout_secs=30).send(HELLO)

    assert len(web_server.requests) == 1
