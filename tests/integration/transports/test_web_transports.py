"""What Slack, Discord and webhooks have in common: failure classes, TLS, secrets."""

from __future__ import annotations

import base64
import logging
import re
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from tests.fakes.mailserver import Authority
from tests.fakes.web import Responder, WebServer, close_connection, reset_connection, respond, send_garbage
from tests.integration.transports.web_clients import (
    HELLO,
    NOW,
    PASSWORD,
    each_web,
    failed,
    transport,
)
from tests.parameters import thorough_except

both = pytest.mark.parametrize("kind", ["slack", "webhook"])


_ANSWERS: list[Any] = [
    *(
        pytest.param(respond(status, "no"), Failure.PERMANENT, id=str(status))
        for status in (400, 401, 403, 404, 413, 418)
    ),
    *(
        pytest.param(respond(status, Location="/elsewhere"), Failure.PERMANENT, id=str(status))
        for status in (301, 302, 307, 308)
    ),
    *(pytest.param(respond(status), Failure.TEMPORARY, id=str(status)) for status in (408, 425, 429, 501, 503)),
    *(pytest.param(respond(status), Failure.UNKNOWN, id=str(status)) for status in (500, 502, 504)),
    pytest.param(respond(410, "gone"), Failure.GONE, id="410"),
    pytest.param(close_connection, Failure.UNKNOWN, id="closes"),
    pytest.param(reset_connection, Failure.UNKNOWN, id="resets"),
    pytest.param(send_garbage, Failure.UNKNOWN, id="garbage"),
]


_QUICK_ANSWERS = {"403", "302", "503", "502", "410", "closes", "garbage"}


@both
@pytest.mark.parametrize(("answer", "failure"), thorough_except(_QUICK_ANSWERS, _ANSWERS))
def test_web_answer_has_its_failure_class_and_is_one_request(
    web_server: WebServer, kind: str, answer: Responder, failure: Failure
) -> None:
    """X03, G04, G09, N05: and the text names the host alone, for the path is the password."""
    web_server.default = answer
    error = failed(transport(kind, web_server.url))

    assert error.failure is failure
    assert len(web_server.requests) == 1
    assert "127.0.0.1" in str(error)
    assert "secret-path" not in str(error)


@pytest.mark.parametrize(("answer", "failure"), thorough_except({"503", "closes", "resets", "garbage"}, _ANSWERS))
def test_web_answer_over_tls_has_its_failure_class(
    tls_server: WebServer, ca: Authority, answer: Responder, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X03"""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
    tls_server.default = answer

    assert failed(transport("webhook", tls_server.url)).failure is failure
    assert len(tls_server.requests) == 1


def test_web_server_with_untrusted_certificate_receives_nothing(
    tls_server: WebServer, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CA bundle: SSL_CERT_FILE/SSL_CERT_DIR if set, otherwise certifi."""
    (tmp_path / "nobody").mkdir()
    doubtful: dict[str, str] = {"SSL_CERT_DIR": str(tmp_path / "nobody"), "SSL_CERT_FILE": str(tmp_path / "missing")}
    for name, value in [("SSL_CERT_FILE", ""), *doubtful.items()]:
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            assert failed(transport("webhook", tls_server.url)).failure is Failure.UNREACHABLE
            why = "SSL_CERT_FILE or SSL_CERT_DIR names" if "missing" in value else "127.0.0.1 could not be reached"
            with pytest.raises(DeliveryError, match=why):
                transport("webhook", tls_server.url).check()
    assert tls_server.requests == []

    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
    transport("webhook", tls_server.url).check()
    transport("webhook", tls_server.url).send(HELLO)
    assert [request.body for request in tls_server.requests] == [HELLO.body]


@each_web
def test_web_last_retry_after_is_kept(web_server: WebServer, kind: str) -> None:
    """G10"""
    web_server.default = respond(429, Retry_After="5\r\nRetry-After: 120")
    error = failed(transport(kind, web_server.url))

    assert error.not_before == datetime.fromtimestamp(NOW + 120, UTC)


@each_web
def test_web_host_that_does_not_exist_is_unreachable(kind: str) -> None:
    assert failed(transport(kind, "https://hooks.invalid/x")).failure is Failure.UNREACHABLE


@each_web
def test_web_repr_contains_no_url(web_server: WebServer, kind: str) -> None:
    """N03"""
    made = transport(kind, web_server.url)

    assert "secret-path" not in repr(made)


_QUICK_ANSWERS = {"403", "302", "503", "502", "410", "closes", "garbage"}


@both
def test_web_refusal_that_repeats_the_url_is_redacted(web_server: WebServer, kind: str) -> None:
    """N03: as the configuration has it, as it is meant, and as it was sent."""

    def reject_with_secrets(connection: socket.socket) -> None:
        request = web_server.requests[-1]
        line = request.line.split()[1]
        respond(403, f"{line}\n{unquote(line)}\n{request.headers['authorization']}\n{PASSWORD}")(connection)

    web_server.default = reject_with_secrets
    base = web_server.url.rpartition("/services")[0]
    url = base.replace("://", f"://me:{quote(PASSWORD)}@") + "/pfad-ü%C3%A4/zweiter%20teil?schlüssel=wört%C3%A4r"
    said = str(failed(transport(kind, url)))

    assert "answered 403" in said
    for secret in ("pfad", "zweiter", "teil", "wört", PASSWORD, base64.b64encode(f"me:{PASSWORD}".encode()).decode()):
        assert secret not in said
    assert not re.search("%[0-9A-F]{2}", said)


def test_web_requests_are_not_logged_with_their_url(web_server: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    """N03"""
    caplog.set_level(logging.DEBUG)
    transport("webhook", web_server.url).send(HELLO)

    assert "secret-path" not in caplog.text
