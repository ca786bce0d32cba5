"""SMTP URLs: forms, ports, encryption, errors that contain no password."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.config.load import Settings
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from syftnotify.transports.smtp.server import SmtpServer, parse_smtp_url
from tests.unit.transports.smtp_sections import GOOD, SECRET, config_errors, loaded_section, write_config

ADDRESS = "expected a URL such as 'smtp://user:password@mail.example:587', with characters like @ and # as %40 and %23"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://user:pass@host:465", SmtpServer("host", 465, "user", "pass", "implicit")),
        ("smtp://user:pass@host:587?tls=required", SmtpServer("host", 587, "user", "pass", "required")),
        ("smtp://localhost:25", SmtpServer("localhost", 25, "", "", "off")),
    ],
)
def test_smtp_url_in_each_documented_form_is_parsed(home: Home, url: str, server: SmtpServer) -> None:
    """G12"""
    assert loaded_section(home, smtp_url=url).smtp_url == server
    assert loaded_section(home, smtp_url=url).smtp_url.password == server.password


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtps://mail.example", 465, "implicit"),
        ("smtps://mail.example?tls=required", 465, "implicit"),
        ("smtps://localhost", 465, "implicit"),
        ("smtp://mail.example", 587, "required"),
        ("smtp://mail.example/", 587, "required"),
        ("smtp://mail.example:25", 25, "required"),
        ("smtp://mail.example?tls=off", 25, "off"),
        ("smtp://user@mail.example:25?tls=off", 25, "off"),
        ("smtp://localhost", 25, "off"),
        ("smtp://LOCALHOST", 25, "off"),
        ("smtp://127.0.0.1:2525", 2525, "off"),
        ("smtp://[::1]:2525", 2525, "off"),
        ("smtp://user:pass@localhost", 25, "off"),
        ("smtp://localhost?tls=required", 587, "required"),
        ("smtp://127.0.0.1.mail.example", 587, "required"),
        ("smtp://10.0.0.1", 587, "required"),
        ("SMTP://mail.example", 587, "required"),
    ],
)
def test_smtp_url_requires_encryption_except_on_loopback(home: Home, url: str, port: int, tls: str) -> None:
    """G12"""
    server = loaded_section(home, smtp_url=url).smtp_url

    assert (server.port, server.tls) == (port, tls)


@pytest.mark.parametrize(
    ("quoted", "password"),
    [("p%40ss%3Aw%2Frd%3F%23", "p@ss:w/rd?#"), ("%25", "%"), ("a+b", "a+b"), ("pä%C3%9F", "päß"), ("a@b", "a@b")],
)
def test_smtp_url_is_percent_decoded(home: Home, quoted: str, password: str) -> None:
    """G12"""
    server = loaded_section(home, smtp_url=f"smtps://me%40x.org:{quoted}@mail.example").smtp_url

    assert (server.user, server.password, server.host) == ("me@x.org", password, "mail.example")


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "mail.example:587",
        "http://mail.example",
        "https://mail.example",
        "smtp+tls://mail.example",
        "smtp:mail.example",
        "smtp://",
        "smtp:///mail.example",
        "smtp://:587",
        "smtp://mail.example:port",
        "smtp://mail.example:99999",
        "smtp://mail.example:-1",
        "smtp://mail.example/inbox",
        "smtp://[::1",
        "smtp://mail.example?tls",
        f"smtp://user:{SECRET}%0A@mail.example",
        f"smtp://user%00:{SECRET}@mail.example",
        f"smtp://user:{SECRET}@mail.example:587:1",
        f"smtp://user:{SECRET}@",
        "",
        587,
        True,
        [GOOD],
        {"host": "mail.example"},
    ],
)
def test_smtp_url_that_is_invalid_is_named_by_path(home: Home, url: Any) -> None:
    """G12, S15"""
    assert config_errors(home, {"type": "smtp", "smtp_url": url}) == [f"transports.mail.smtp_url: {ADDRESS}"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://mail.example?tls=on", "`tls` must be `required` or `off`"),
        ("smtp://mail.example?tls=required&starttls=1", "the only option of an SMTP URL is `tls`"),
        ("smtps://mail.example?tls=off", "smtps:// is encrypted from the start; use smtp:// for `tls=off`"),
        (
            f"smtp://user:{SECRET}@mail.example?tls=off",
            "a password is never sent unencrypted; remove `tls=off`",
        ),
    ],
)
def test_smtp_url_with_invalid_options_is_explained(home: Home, url: str, said: str) -> None:
    """G12"""
    (line,) = config_errors(home, {"type": "smtp", "smtp_url": url})

    assert line.startswith(f"transports.mail.smtp_url: {said}")


@pytest.mark.parametrize(
    "password",
    [
        f"1/{SECRET}",
        f"a/{SECRET}",
        f"1?{SECRET}=x",
        f"a?{SECRET}=x",
        f"1?{SECRET}",
        f"1?tls={SECRET}",
        f"1?tls=off&{SECRET}=1",
        f"1#{SECRET}",
        f"a#{SECRET}",
        f"[{SECRET}",
        f"%00{SECRET}",
    ],
)
def test_smtp_url_error_contains_no_unencoded_password(home: Home, password: str) -> None:
    """N03: `/`, `?` and `#` end the name of the host, and what follows is somebody's password."""
    (line,) = config_errors(home, {"type": "smtp", "smtp_url": f"smtp://user:{password}@mail.example:587"})

    assert line.startswith("transports.mail.smtp_url: ")


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text("/?#@:[]%=& ", max_size=3))
def test_smtp_url_error_contains_no_password(before: str, after: str) -> None:
    """N03"""
    try:
        said = repr(parse_smtp_url(f"smtp://user:{before}{SECRET}{after}@mail.example"))
    except ValueError as error:
        said = str(error)

    assert SECRET not in said


@pytest.mark.parametrize(
    "where",
    [
        {"transports": {"mail": f"smtp://user:{SECRET}@mail.example"}},
        {"transports": [f"smtp://user:{SECRET}@mail.example"]},
        {"transports": f"smtp://user:{SECRET}@mail.example"},
        {"transports": {"mail": {"type": "maildir", "smtp_url": f"smtp://user:{SECRET}@mail.example"}}},
        {"transports": {"mail": {"type": "smpt", "smtp_url": f"smtp://user:{SECRET}@mail.example"}}},
        {"transports": {"mail": {"smtp_url": f"smtp://user:{SECRET}@mail.example"}}},
        {"smtp_url": f"smtp://user:{SECRET}@mail.example"},
        {"notify": {"smtp_url": f"smtp://user:{SECRET}@mail.example"}},
    ],
)
def test_smtp_url_in_the_wrong_place_is_not_repeated(home: Home, where: dict[str, Any]) -> None:
    """N03: who writes it one level too high has written a password there."""
    assert config_errors(home, {"type": "maildir"}, **where)


def test_smtp_url_is_required(home: Home) -> None:
    assert config_errors(home, {"type": "smtp"}) == ["transports.mail.smtp_url: missing; it must be set"]


def test_settings_repr_contains_no_smtp_password(home: Home) -> None:
    """N03"""
    settings: Settings = load(write_config(home, {"type": "smtp", "smtp_url": f"smtps://user:{SECRET}@mail.example"}))

    assert SECRET not in f"{settings!r} {settings!s} {settings.config!r} {settings.config!s} {settings.warnings}"
