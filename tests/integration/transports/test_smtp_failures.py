"""What each fault of a mail server means, and that one attempt is one MAIL command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from tests.fakes.mailserver import (
    HOST,
    PASSWORD,
    USER,
    Action,
    Authority,
    MailServer,
    close_connection,
    commit,
    ids,
    reply,
    reply_and_close,
    reset_connection,
    send_garbage,
    sequence,
    serve_mail,
)
from tests.integration.transports.smtp_clients import LARGE, STARTTLS, SmtpClients, failed
from tests.mail_message import HELLO
from tests.parameters import thorough_except
from tests.support import OWNER

# The step, what happens there instead, what that means, and how many messages the server has then.
_FAULTS = [
    pytest.param("greeting", reply("554 5.7.1 not from there"), Failure.AUTH, 0, id="greeting-554"),
    pytest.param("greeting", reply("421 4.3.2 too busy"), Failure.UNREACHABLE, 0, id="greeting-421"),
    pytest.param(
        "greeting", reply_and_close("421 4.3.2 too busy"), Failure.UNREACHABLE, 0, id="greeting-421-and-closes"
    ),
    pytest.param("greeting", close_connection, Failure.UNREACHABLE, 0, id="greeting-closes"),
    pytest.param("greeting", reset_connection, Failure.UNREACHABLE, 0, id="greeting-resets"),
    pytest.param("greeting", send_garbage, Failure.UNREACHABLE, 0, id="greeting-garbage"),
    pytest.param("EHLO", reply("550 5.7.1 not you"), Failure.AUTH, 0, id="ehlo-550"),
    pytest.param("EHLO", reply("502 5.5.1 not here"), Failure.AUTH, 0, id="ehlo-502"),
    pytest.param("EHLO", reply("451 4.3.0 later"), Failure.UNREACHABLE, 0, id="ehlo-451"),
    pytest.param("EHLO", close_connection, Failure.UNREACHABLE, 0, id="ehlo-closes"),
    pytest.param("EHLO", reset_connection, Failure.UNREACHABLE, 0, id="ehlo-resets"),
    pytest.param("EHLO", send_garbage, Failure.UNREACHABLE, 0, id="ehlo-garbage"),
    pytest.param("MAIL", reply("451 4.3.0 later"), Failure.TEMPORARY, 0, id="mail-451"),
    pytest.param("MAIL", reply_and_close("421 4.7.0 too many"), Failure.TEMPORARY, 0, id="mail-421-and-closes"),
    pytest.param("MAIL", reply("550 5.1.8 no such sender"), Failure.PERMANENT, 0, id="mail-550"),
    pytest.param("MAIL", reply("530 5.7.0 sign in first"), Failure.AUTH, 0, id="mail-530"),
    pytest.param("MAIL", reply("550 5.4.5 daily quota exceeded"), Failure.QUOTA, 0, id="mail-daily-limit"),
    pytest.param("MAIL", close_connection, Failure.UNREACHABLE, 0, id="mail-closes"),
    pytest.param("MAIL", reset_connection, Failure.UNREACHABLE, 0, id="mail-resets"),
    pytest.param("MAIL", send_garbage, Failure.UNREACHABLE, 0, id="mail-garbage"),
    pytest.param("RCPT", reply("450 4.2.1 mailbox busy"), Failure.TEMPORARY, 0, id="rcpt-450"),
    pytest.param("RCPT", reply("452 4.5.3 too many"), Failure.TEMPORARY, 0, id="rcpt-452"),
    pytest.param("RCPT", reply("550 5.1.1 no such user"), Failure.PERMANENT, 0, id="rcpt-550"),
    pytest.param(
        "RCPT",
        reply("550-5.1.1 no such user", "550 5.1.1 ask the postmaster"),
        Failure.PERMANENT,
        0,
        id="rcpt-two-lines",
    ),
    pytest.param("RCPT", reply("553 mailbox name not allowed"), Failure.PERMANENT, 0, id="rcpt-553-without-more"),
    pytest.param("RCPT", reply("550 5.4.5 daily quota exceeded"), Failure.QUOTA, 0, id="rcpt-daily-limit"),
    pytest.param("RCPT", reply("550-5.4.5 daily quota", "550 5.4.5 exceeded"), Failure.QUOTA, 0, id="rcpt-daily-twice"),
    pytest.param("RCPT", reply("535 5.7.8 signed out"), Failure.AUTH, 0, id="rcpt-535"),
    pytest.param("RCPT", close_connection, Failure.UNREACHABLE, 0, id="rcpt-closes"),
    pytest.param("RCPT", send_garbage, Failure.UNREACHABLE, 0, id="rcpt-garbage"),
    pytest.param("DATA", reply("451 4.3.0 later"), Failure.TEMPORARY, 0, id="data-451"),
    pytest.param("DATA", reply("554 5.6.0 no"), Failure.PERMANENT, 0, id="data-554"),
    pytest.param("DATA", reply("250 go on"), Failure.UNREACHABLE, 0, id="data-250"),
    pytest.param("DATA", close_connection, Failure.UNREACHABLE, 0, id="data-closes"),
    pytest.param("DATA", send_garbage, Failure.UNREACHABLE, 0, id="data-garbage"),
    pytest.param("dot", reply("451 4.3.0 later"), Failure.TEMPORARY, 0, id="dot-451"),
    pytest.param("dot", reply("554 5.7.1 looks like spam"), Failure.PERMANENT, 0, id="dot-554"),
    pytest.param("dot", reply("552 5.2.2 mailbox full"), Failure.PERMANENT, 0, id="dot-552"),
    pytest.param("dot", reply("550 5.4.5 daily quota exceeded"), Failure.QUOTA, 0, id="dot-daily-limit"),
    pytest.param("dot", close_connection, Failure.UNKNOWN, 0, id="dot-closes"),
    pytest.param("dot", reset_connection, Failure.UNKNOWN, 0, id="dot-resets"),
    pytest.param("dot", sequence(commit, close_connection), Failure.UNKNOWN, 1, id="dot-commits-and-closes"),
    pytest.param("dot", sequence(commit, reset_connection), Failure.UNKNOWN, 1, id="dot-commits-and-resets"),
    pytest.param("dot", sequence(commit, send_garbage), Failure.UNKNOWN, 1, id="dot-commits-and-garbage"),
]


_QUICK_FAULTS = {
    "greeting-554", "greeting-421", "greeting-closes", "ehlo-550", "ehlo-451", "ehlo-resets", "mail-451", "mail-550",
    "mail-530", "mail-closes", "mail-garbage", "rcpt-450", "rcpt-550", "rcpt-two-lines", "rcpt-daily-limit", "data-451",
    "data-250", "data-closes", "dot-451", "dot-554", "dot-closes", "dot-commits-and-resets", "dot-commits-and-garbage",
}  # fmt: skip


@pytest.mark.parametrize(("step", "act", "failure", "taken"), thorough_except(_QUICK_FAULTS, _FAULTS))
def test_smtp_fault_has_its_failure_class_and_is_one_attempt(
    mail_server: MailServer, smtp: SmtpClients, step: str, act: Action, failure: Failure, taken: int
) -> None:
    """X03, X04: the table of errors; nothing is tried twice behind the dispatcher's back."""
    mail_server.default[step] = act

    error = failed(smtp.to(mail_server))

    assert error.failure is failure
    assert HOST in str(error)
    assert len(mail_server.committed) == taken
    assert mail_server.attempts == (0 if step in {"greeting", "EHLO"} else 1)
    assert len(mail_server.commands_by_connection) == 1


@pytest.mark.parametrize(
    ("step", "act", "failure"),
    thorough_except(
        {"starttls-454", "starttls-554", "starttls-is-none", "auth-535", "auth-454", "auth-closes", "dot-closes"},
        [
            pytest.param("STARTTLS", reply("454 4.7.0 not now"), Failure.UNREACHABLE, id="starttls-454"),
            pytest.param("STARTTLS", reply("554 5.7.3 never"), Failure.AUTH, id="starttls-554"),
            pytest.param("STARTTLS", close_connection, Failure.UNREACHABLE, id="starttls-closes"),
            pytest.param("STARTTLS", send_garbage, Failure.UNREACHABLE, id="starttls-garbage"),
            pytest.param("STARTTLS", reply("220 go on", "this is no TLS"), Failure.UNREACHABLE, id="starttls-is-none"),
            pytest.param("AUTH", reply("535 5.7.8 no"), Failure.AUTH, id="auth-535"),
            pytest.param("AUTH", reply("534 5.7.9 too weak"), Failure.AUTH, id="auth-534"),
            pytest.param("AUTH", reply("550 5.7.1 locked out"), Failure.AUTH, id="auth-550"),
            pytest.param("AUTH", reply("454 4.7.0 later"), Failure.UNREACHABLE, id="auth-454"),
            pytest.param("AUTH", reply("421 4.7.0 too often"), Failure.UNREACHABLE, id="auth-421"),
            pytest.param("AUTH", close_connection, Failure.UNREACHABLE, id="auth-closes"),
            pytest.param("AUTH", reset_connection, Failure.UNREACHABLE, id="auth-resets"),
            pytest.param("AUTH", send_garbage, Failure.UNREACHABLE, id="auth-garbage"),
            pytest.param("MAIL", close_connection, Failure.UNREACHABLE, id="mail-closes"),
            pytest.param("RCPT", reply("550 5.1.1 no such user"), Failure.PERMANENT, id="rcpt-550"),
            pytest.param("dot", close_connection, Failure.UNKNOWN, id="dot-closes"),
            pytest.param("dot", reset_connection, Failure.UNKNOWN, id="dot-resets"),
        ],
    ),
)
def test_smtp_fault_with_starttls_and_auth_has_its_failure_class(
    ca: Authority, smtp: SmtpClients, step: str, act: Action, failure: Failure
) -> None:
    """X03, X07"""
    with serve_mail(ca.context(), users={USER: PASSWORD}) as mail_server:
        mail_server.default[step] = act
        error = failed(smtp.to(mail_server, form=STARTTLS, ca_file=str(ca.file)))

    assert error.failure is failure
    assert mail_server.committed == []
    assert mail_server.attempts == (0 if step in {"STARTTLS", "AUTH"} else 1)


@pytest.mark.parametrize("encrypted", thorough_except({"encrypted"}, {"plain": False, "encrypted": True}))
def test_smtp_cut_before_the_final_dot_is_unreachable(ca: Authority, smtp: SmtpClients, encrypted: bool) -> None:
    """X03: nothing is in doubt, so nothing is counted as doubled."""
    tls = ca.context() if encrypted else None
    with serve_mail(tls, starttls=False, receive_buffer=4096) as mail_server:
        mail_server.default["body"] = close_connection
        form = "smtps://{place}" if encrypted else "smtp://{place}"
        error = failed(smtp.to(mail_server, form=form, ca_file=str(ca.file)), LARGE)

    assert error.failure is Failure.UNREACHABLE
    assert mail_server.committed == []
    assert mail_server.attempts == 1


_ODD_REPLIES = ["299 taken", "354 go on", "25", "200 taken", "300 and now", "999 what"]


@pytest.mark.parametrize("answer", thorough_except(_ODD_REPLIES[:3], {reply: reply for reply in _ODD_REPLIES}))
def test_smtp_odd_reply_to_the_final_dot_is_sent_or_unknown(
    mail_server: MailServer, smtp: SmtpClients, answer: str
) -> None:
    """X03: taken for "nothing was handed over" it would be sent again although it is held, and counted nowhere."""
    mail_server.default["dot"] = sequence(commit, reply(answer))
    try:
        smtp.to(mail_server).send(HELLO)
    except DeliveryError as error:
        assert error.failure is Failure.UNKNOWN  # noqa: PT017 - that it succeeds is right for a 2yz, too


def test_smtp_host_that_does_not_exist_is_unreachable(smtp: SmtpClients) -> None:
    """X03"""
    error = failed(smtp.at("smtps://mail.invalid"))

    assert error.failure is Failure.UNREACHABLE
    assert "mail.invalid" in str(error)


def test_smtp_error_quotes_the_reply_without_controls(mail_server: MailServer, smtp: SmtpClients) -> None:
    """N27, X11"""
    mail_server.default["RCPT"] = reply("550-5.1.1 no\x1b[2J such user", f"550 {'x' * 400}")

    error = failed(smtp.to(mail_server))

    assert "550 5.1.1 no" in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("step", "act"),
    [
        ("MAIL", reply("451 later")),
        ("RCPT", reply("550 5.1.1 no such user")),
        ("RCPT", reply("450 4.2.1 busy")),
        ("DATA", reply("451 later")),
        ("dot", reply("554 spam")),
        ("dot", sequence(commit, close_connection)),
        ("MAIL", reply_and_close("421 4.7.0 too many")),
        ("MAIL", send_garbage),
        ("MAIL", reset_connection),
    ],
)
def test_smtp_failure_does_not_affect_the_next_mail(
    mail_server: MailServer, smtp: SmtpClients, step: str, act: Action
) -> None:
    """X04: on a kept connection a refused recipient is not carried over into the next mail."""
    transport = smtp.to(mail_server)
    transport.send(replace(HELLO, id="first"))
    mail_server.once(step, act)
    failed(transport, replace(HELLO, id="second"))
    transport.send(replace(HELLO, id="third", recipient=OWNER))

    assert [mail for mail in ids(mail_server.committed) if mail != "second"] == ["first", "third"]
    assert mail_server.committed[-1].recipients == (OWNER,)
    assert mail_server.attempts == 3
