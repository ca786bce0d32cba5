"""SMTP URLs, encryption, certificates and authentication."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from tests.fakes.mailserver import (
    HOST,
    PASSWORD,
    SECRET,
    USER,
    Authority,
    reply_with_password,
    serve_mail,
)
from tests.integration.transports.smtp_clients import ENCRYPTED, STARTTLS, UNENCRYPTED, SmtpClients, failed, section
from tests.mail_message import HELLO


@pytest.mark.parametrize(
    ("form", "encrypted", "signed_in"),
    [
        pytest.param("smtps://{user}:{password}@{place}", True, True, id="smtps"),
        pytest.param("smtps://{place}", True, False, id="smtps-without-a-sign-in"),
        pytest.param("smtp://{user}:{password}@{place}?tls=required", True, True, id="starttls"),
        pytest.param("smtp://{place}?tls=required", True, False, id="starttls-without-a-sign-in"),
        pytest.param("smtp://{place}", False, False, id="this-machine"),
        pytest.param("smtp://{user}:{password}@{place}", False, True, id="this-machine-with-a-sign-in"),
    ],
)
def test_smtp_url_of_each_form_connects_as_it_says(
    ca: Authority, smtp: SmtpClients, form: str, encrypted: bool, signed_in: bool
) -> None:
    """G12"""
    tls = ca.context() if encrypted else None
    users = {USER: PASSWORD} if signed_in else {}
    with serve_mail(tls, starttls=not form.startswith("smtps"), users=users) as mail_server:
        smtp.to(mail_server, form=form, ca_file=str(ca.file)).send(HELLO)

    (mail,) = mail_server.committed
    assert mail.is_encrypted is encrypted
    assert mail.user == (USER if signed_in else "")


@pytest.mark.parametrize("password", ["p@ss:w/rd?#%", "  two words  ", "+&=;\"'", "Paßwort", "密码"])
def test_smtp_password_in_the_url_is_percent_decoded(smtp: SmtpClients, password: str) -> None:
    """G12, RFC 4616: in any script."""
    quoted = "".join(f"%{byte:02X}" for byte in password.encode())
    with serve_mail(users={USER: password}) as mail_server:
        smtp.to(mail_server, form=f"smtp://{USER}:{quoted}@{{place}}").send(HELLO)

    assert [mail.user for mail in mail_server.committed] == [USER]


@pytest.mark.parametrize("users", [{}, {USER: PASSWORD}])
def test_smtp_server_without_required_starttls_receives_nothing(smtp: SmtpClients, users: dict[str, str]) -> None:
    """G12: an attacker who removes the offer of STARTTLS gets neither the password nor the mail."""
    with serve_mail(users=users) as mail_server:
        error = failed(smtp.to(mail_server, form=STARTTLS))

    assert error.failure is Failure.UNREACHABLE
    assert "STARTTLS" in str(error)
    assert mail_server.commands == ["EHLO [127.0.0.1]"]


@pytest.mark.parametrize("form", [STARTTLS, ENCRYPTED])
@pytest.mark.parametrize(
    "names",
    [
        pytest.param((HOST,), id="unknown-authority"),
        pytest.param(("elsewhere.example",), id="wrong-name"),
    ],
)
def test_smtp_server_with_an_invalid_certificate_receives_nothing(
    ca: Authority, smtp: SmtpClients, form: str, names: tuple[str, ...]
) -> None:
    """G12: certificates are verified, by their authority and by their name."""
    trusted = {"ca_file": str(ca.file)} if names != (HOST,) else {}
    with serve_mail(ca.context(*names), starttls=form == STARTTLS, users={USER: PASSWORD}) as mail_server:
        error = failed(smtp.to(mail_server, form=form, **trusted))

    assert error.failure is Failure.UNREACHABLE
    assert mail_server.committed == []
    assert {command.split(" ")[0] for command in mail_server.commands} <= {"EHLO", "STARTTLS"}


@pytest.mark.parametrize("content", [None, "no certificate at all\n"])
def test_smtp_unusable_ca_file_is_named_in_the_error(
    ca: Authority, smtp: SmtpClients, tmp_path: Path, content: str | None
) -> None:
    """The error names the file, because the server is not the cause."""
    file = tmp_path / "mine.pem"
    if content is not None:
        file.write_text(content, encoding="ascii")
    with serve_mail(ca.context(), starttls=False, users={USER: PASSWORD}) as mail_server:
        error = failed(smtp.to(mail_server, form=ENCRYPTED, ca_file=str(file)))

    assert "mine.pem" in str(error)
    assert mail_server.committed == []


@pytest.mark.parametrize("mechanisms", [{"PLAIN"}, {"LOGIN"}, {"PLAIN", "LOGIN"}])
def test_smtp_authentication_works_with_each_mechanism(smtp: SmtpClients, mechanisms: set[str]) -> None:
    with serve_mail(users={USER: PASSWORD}, mechanisms=mechanisms) as mail_server:
        smtp.to(mail_server, form=UNENCRYPTED).send(HELLO)

    assert [mail.user for mail in mail_server.committed] == [USER]


def test_smtp_rejected_password_is_an_auth_failure(smtp: SmtpClients) -> None:
    """X07: nothing is sent, and the transport is paused until a person acts."""
    with serve_mail(users={USER: "another"}) as mail_server:
        error = failed(smtp.to(mail_server, form=UNENCRYPTED))

    assert error.failure is Failure.AUTH
    assert "535" in str(error)
    assert mail_server.attempts == 0


@pytest.mark.parametrize(("users", "mechanisms"), [({}, {"PLAIN"}), ({USER: PASSWORD}, set())])
def test_smtp_server_without_authentication_receives_no_mail(
    smtp: SmtpClients, users: dict[str, str], mechanisms: set[str]
) -> None:
    with serve_mail(users=users, mechanisms=mechanisms) as mail_server:
        error = failed(smtp.to(mail_server, form=UNENCRYPTED))

    assert error.failure is Failure.AUTH
    assert mail_server.attempts == 0


def test_smtp_missing_credentials_are_an_auth_failure(smtp: SmtpClients) -> None:
    """X07: 530 at MAIL is about us, not about the message."""
    with serve_mail(users={USER: PASSWORD}) as mail_server:
        error = failed(smtp.to(mail_server))

    assert error.failure is Failure.AUTH
    assert "530" in str(error)


def test_smtp_password_repeated_by_the_server_is_redacted(smtp: SmtpClients, caplog: pytest.LogCaptureFixture) -> None:
    """N03"""
    caplog.set_level(logging.DEBUG)
    with serve_mail(users={USER: PASSWORD}) as mail_server:
        mail_server.default["AUTH"] = reply_with_password
        error = failed(smtp.to(mail_server, form=UNENCRYPTED))

    assert error.failure is Failure.AUTH
    assert SECRET not in caplog.text


def test_smtp_repr_contains_no_password(smtp: SmtpClients) -> None:
    """N03"""
    found = section(f"smtps://{USER}:{PASSWORD}@mail.example")
    transport = smtp.at(f"smtps://{USER}:{PASSWORD}@mail.example")

    assert found.smtp_url.password == PASSWORD
    for thing in (found, found.smtp_url, transport, {"mail": found}):
        assert SECRET not in f"{thing!r} {thing!s}"


def test_smtp_check_authenticates_and_keeps_its_connection(ca: Authority, smtp: SmtpClients) -> None:
    """N02"""
    with serve_mail(ca.context(), users={USER: PASSWORD}) as mail_server:
        transport = smtp.to(mail_server, form=STARTTLS, ca_file=str(ca.file))
        transport.check()
        assert [command.split(" ")[0] for command in mail_server.commands] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
        transport.send(HELLO)

    assert len(mail_server.commands_by_connection) == len(mail_server.committed) == 1


@pytest.mark.parametrize(("users", "failure"), [({USER: "another"}, Failure.AUTH), ({}, Failure.AUTH)])
def test_smtp_check_with_a_rejected_password_is_an_auth_failure(
    smtp: SmtpClients, users: dict[str, str], failure: Failure
) -> None:
    """X07"""
    with serve_mail(users=users) as mail_server, pytest.raises(DeliveryError) as caught:
        smtp.to(mail_server, form=UNENCRYPTED).check()

    assert caught.value.failure is failure
    assert mail_server.attempts == 0
