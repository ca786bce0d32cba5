"""SMTP content of any text arrives unchanged, alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syftnotify.core.ports import Transport
from tests.fakes.mailserver import (
    MailServer,
    serve_mail,
)
from tests.integration.transports.smtp_clients import SmtpClients
from tests.mail_message import HELLO

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with serve_mail() as server:
        yield server


@pytest.fixture(scope="module")
def transport(server: MailServer) -> Iterator[Transport]:
    clients = SmtpClients()
    yield clients.to(server)
    clients.close()


@given(st.text(st.sampled_from(".\r\n aü"), max_size=60))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
def test_smtp_text_of_any_dots_and_line_ends_arrives_unchanged(
    server: MailServer, transport: Transport, text: str
) -> None:
    """X11"""
    before = len(server.committed)
    transport.send(replace(HELLO, text=text))

    (mail,) = server.committed[before:]
    assert mail.text.split() == text.split()
    assert mail.html == HELLO.html
