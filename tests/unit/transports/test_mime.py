"""Messages as MIME: the headers of every mail, and text from outside in them."""

from __future__ import annotations

from dataclasses import replace
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

import pytest

from syftnotify.core.models import Message
from syftnotify.transports.mime import build_mime
from tests.mail_message import HELLO
from tests.support import OWNER

NOW = 1_800_000_000.0


def received(message: Message) -> EmailMessage:
    """The mail as the program of its reader parses it."""
    return BytesParser(policy=default).parsebytes(build_mime(message, date=NOW).as_bytes())


def test_mail_has_the_standard_headers() -> None:
    """X13"""
    mail = received(HELLO)
    expected = {
        "From": f"SyftBox <{OWNER}>",
        "Message-ID": "<0123456789abcdef@datasite.example>",
        "In-Reply-To": "<fedcba9876543210@syftnotify.local>",
        "References": "<fedcba9876543210@syftnotify.local>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-SyftNotify-Event": "job_approved",
        "List-Id": "SyftBox notifications <notifications.datasite.example>",
        "Date": "Fri, 15 Jan 2027 08:00:00 +0000",
        "MIME-Version": "1.0",
    }

    assert {name: str(mail[name]) for name in expected} == expected
    assert len(mail.get_all("To", [])) == len(mail.get_all("Message-ID", [])) == 1


@pytest.mark.parametrize("field", ["subject", "header"])
@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("x\r\nBcc: victim@elsewhere.example\r\n\r\nbody\x00\x1b[2J\u202e", id="plain"),
        pytest.param("x\r\n.\r\nMAIL FROM:<victim@elsewhere.example>", id="end of the mail"),
        pytest.param("=?utf-8?q?=0D=0ABcc=3A_victim=40elsewhere.example?=", id="encoded"),
        pytest.param("job =?utf-8?b?DQpCY2M6IHZpY3RpbUBlbHNld2hlcmUuZXhhbXBsZQ==?= x", id="encoded within"),
    ],
)
def test_mail_with_a_hostile_field_has_no_further_header(field: str, hostile: str) -> None:
    """X11: neither by a line end nor by an encoded one (RFC 2047)."""
    headers = (("X-SyftNotify-Entity", hostile),)
    mail = received(replace(HELLO, subject=hostile) if field == "subject" else replace(HELLO, headers=headers))
    part = mail.get_body(("plain",))

    assert "Bcc" not in mail
    assert part is not None
    assert part.get_content().replace("\r\n", "\n") == HELLO.text
    assert str(mail["Subject" if field == "subject" else "X-SyftNotify-Entity"]).isprintable()
