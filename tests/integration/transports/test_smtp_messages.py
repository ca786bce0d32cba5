"""What the SMTP transport sends: content, headers, envelope."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.mailserver import (
    PASSWORD,
    USER,
    Authority,
    MailServer,
    ids,
    serve_mail,
)
from tests.integration.transports.smtp_clients import STARTTLS, SmtpClients
from tests.mail_message import HELLO
from tests.support import ANA, OWNER, TIMEOUT


def test_smtp_message_is_one_mail_with_text_and_html(mail_server: MailServer, smtp: SmtpClients) -> None:
    """S04, X13: multipart/alternative, the text first, in any script."""
    smtp.to(mail_server).send(HELLO)

    (mail,) = mail_server.committed
    assert mail.mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.mail.iter_parts()] == ["text/plain", "text/html"]
    assert (mail.text, mail.html) == (HELLO.text, HELLO.html)
    assert (mail.to, mail.subject) == (ANA, HELLO.subject)
    assert (mail.sender, mail.recipients) == (OWNER, (ANA,))


def test_smtp_receipt_contains_the_reply_of_the_server(mail_server: MailServer, smtp: SmtpClients) -> None:
    """N27: the server's own name for the message is what a support case asks for."""
    assert smtp.to(mail_server).send(HELLO).provider_id == "2.0.0 queued as 1"


@pytest.mark.parametrize("text", ["þÿ" * 5000, "x" * 5000, "", "no end of line", "\n\n", "a\tb\r\nc\n"])
def test_smtp_message_has_short_ascii_lines_with_crlf(mail_server: MailServer, smtp: SmtpClients, text: str) -> None:
    """X13: RFC 5322, section 2.1.1: 7 bits, CRLF, at most 998 characters; no relay need know 8BITMIME or SMTPUTF8."""
    smtp.to(mail_server).send(replace(HELLO, text=text))

    (mail,) = mail_server.committed
    assert mail.source.isascii()
    assert b"\n" not in mail.source.replace(b"\r\n", b"")
    assert b"\r" not in mail.source.replace(b"\r\n", b"")
    assert mail.source.endswith(b"\r\n")
    assert max(len(line) for line in mail.source.split(b"\r\n")) <= 998
    assert mail.text.rstrip("\n") == text.replace("\r\n", "\n").rstrip("\n")


@pytest.mark.parametrize("html", ["", "<p>.</p>\n"])
def test_smtp_line_of_one_dot_does_not_end_the_mail(mail_server: MailServer, smtp: SmtpClients, html: str) -> None:
    """RFC 5321, section 4.5.2; and nothing that follows it is taken for a command."""
    text = ".\n..\n.leading\nMAIL FROM:<eve@elsewhere.example>\n.\nRCPT TO:<eve@elsewhere.example>\n.\n"
    smtp.to(mail_server).send(replace(HELLO, text=text, html=html))

    (mail,) = mail_server.committed
    assert mail.text == text
    assert mail_server.attempts == 1


@pytest.mark.parametrize(
    ("said", "shown", "address"),
    [
        ("noreply@mail.example", "SyftBox <noreply@mail.example>", "noreply@mail.example"),
        ("Data Site <noreply@mail.example>", "Data Site <noreply@mail.example>", "noreply@mail.example"),
        ('"Ünis, Daten" <noreply@mail.example>', '"Ünis, Daten" <noreply@mail.example>', "noreply@mail.example"),
        (None, f"SyftBox <{OWNER}>", OWNER),
    ],
)
def test_smtp_sender_is_in_the_header_and_on_the_envelope(
    mail_server: MailServer, smtp: SmtpClients, said: str | None, shown: str, address: str
) -> None:
    """G13: in the header and on the envelope; unset it is the owner."""
    smtp.to(mail_server, **({} if said is None else {"from": said})).send(HELLO)

    (mail,) = mail_server.committed
    assert str(mail.mail["From"]) == shown
    assert mail.sender == address
    assert mail_server.commands[1] == f"MAIL FROM:<{address}>"


@pytest.mark.parametrize("answer", ["251 2.1.5 forwards it", "252 2.5.2 will try"])
def test_smtp_recipient_accepted_with_251_or_252_is_delivered(
    mail_server: MailServer, smtp: SmtpClients, answer: str
) -> None:
    """RFC 5321, section 3.4 and 3.5.3."""

    async def takes(connection: Any) -> None:
        connection.envelope.rcpt_tos.append(ANA)
        await connection.write(f"{answer}\r\n".encode())

    mail_server.default["RCPT"] = takes
    smtp.to(mail_server).send(HELLO)

    assert len(mail_server.committed) == 1


def test_smtp_slow_reply_within_the_timeout_is_accepted(mail_server: MailServer, smtp: SmtpClients) -> None:
    """G09"""

    async def answers_slowly(connection: Any) -> None:
        connection.commit()
        for byte in b"250-2.0.0 taken\r\n250 2.0.0 slowly\r\n":
            await connection.write(bytes([byte]))

    mail_server.default["dot"] = answers_slowly

    assert "slowly" in smtp.to(mail_server).send(HELLO).provider_id


@pytest.mark.thorough
def test_smtp_200_mails_from_8_threads_are_each_sent_once(ca: Authority, smtp: SmtpClients) -> None:
    """G02: 200 mails over at most eight connections."""
    ready = threading.Barrier(8)
    with serve_mail(ca.context(), users={USER: PASSWORD}) as mail_server:
        transport = smtp.to(mail_server, form=STARTTLS, ca_file=str(ca.file))

        def send(part: int) -> None:
            ready.wait(timeout=TIMEOUT)
            for number in range(25):
                transport.send(replace(HELLO, id=f"mail-{part}-{number}", recipient=f"r{part}@lab.example"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(8)))

    assert Counter(ids(mail_server.committed)) == Counter(
        f"mail-{part}-{number}" for part in range(8) for number in range(25)
    )
    assert all(mail.recipients == (f"r{mail.id.split('-')[1]}@lab.example",) for mail in mail_server.committed)
    assert mail_server.attempts == 200
    assert len(mail_server.commands_by_connection) <= 8
