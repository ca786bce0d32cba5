from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.transports.gmail.sending import GmailTransport
from tests.fakes.google import Google
from tests.fakes.google import serve_google as serving_google
from tests.fakes.mailserver import HOST, Authority, MailServer, serve_mail
from tests.fakes.web import WebServer, serve_web
from tests.integration.transports.gmail_clients import NOW
from tests.integration.transports.smtp_clients import SmtpClients


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with serve_mail() as server:
        yield server


@pytest.fixture
def smtp() -> Iterator[SmtpClients]:
    """Makes SMTP transports, and closes them at the end of the test."""
    clients = SmtpClients()
    yield clients
    clients.close()


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    with serve_web() as server:
        yield server


@pytest.fixture
def tls_server(ca: Authority) -> Iterator[WebServer]:
    with serve_web(context=ca.context(HOST)) as server:
        yield server


@pytest.fixture
def tls_google(ca: Authority) -> Iterator[Google]:
    with serving_google(ca.context(HOST)) as server:
        yield server


@pytest.fixture
def gmail_token(google: Google, tmp_path: Path) -> Path:
    return google.write_token(tmp_path / "gmail_token.json")


@pytest.fixture
def gmail(google: Google, gmail_token: Path) -> GmailTransport:
    return GmailTransport(gmail_token, api_endpoint=google.url, clock=lambda: NOW)
