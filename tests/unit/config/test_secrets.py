"""Secrets of `config.yaml`: references to variables and files, and encrypted values."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from syftnotify.config.load import Settings
from syftnotify.config.secrets import encrypt
from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.transports.smtp.settings import SmtpSettings
from tests.fakes.mailserver import PASSWORD, USER, MailServer
from tests.fakes.web import WebServer
from tests.secrets_setup import (
    BEARER,
    HAND_MADE,
    SIGNING,
    assert_absent,
    configure_all,
    secret_of,
    secret_values,
    set_secret,
    smtp_section,
    store_secret,
    write_config,
)
from tests.support import Box


def password_of(settings: Settings) -> str:
    section = settings.mail_settings
    assert isinstance(section, SmtpSettings)
    assert section.type == "smtp"
    return section.smtp_url.password


def test_file_reference_is_relative_to_the_home_or_absolute(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(box.folder))
    (box.home.root / "sub").mkdir()
    for setting, path in (("sub/word", box.home.root / "sub" / "word"), ("~/word", box.folder / "word")):
        path.write_text("  pass word \n\n")
        box.configure({"transports": {"relay": smtp_section(password=f"file:{setting}")}})
        assert password_of(load(box.home)) == "pass word"
    box.configure({"transports": {"relay": smtp_section(password=f"file:{box.folder}/word")}})
    assert password_of(load(box.home)) == "pass word"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("WORD=pass=word", "pass=word"),
        ("  WORD = pass word \r", "pass word"),
        ('WORD="pass word "', "pass word "),
        ("WORD='it\"s'", 'it"s'),
        ('WORD=a"b"c', 'a"b"c'),
        ("# WORD=no\n;WORD=no\n\nWORDS=no\nnothing\nWORD=old\nWORD=žluť", "žluť"),
    ],
)
def test_environment_file_is_parsed_like_systemd(
    box: Box, monkeypatch: pytest.MonkeyPatch, line: str, value: str
) -> None:
    """B07: a command finds what the worker of systemd will find."""
    monkeypatch.delenv("WORD", raising=False)
    box.configure({"transports": {"relay": smtp_section(password="env:WORD")}})
    box.home.environment.write_bytes(f"FIRST=1\n{line}\n".encode())

    assert password_of(load(box.home)) == value
    monkeypatch.setenv("WORD", "exported")
    assert password_of(load(box.home)) == "exported"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "environment variable NOT_HERE is not set;"),
        (b"NOT_HERE=\n", "environment variable NOT_HERE is not set;"),
        (b"\xff", "environment cannot be read: not UTF-8 text"),
    ],
)
def test_missing_variable_error_names_both_places(box: Box, content: bytes, message: str) -> None:
    box.configure({"transports": {"relay": smtp_section(password="env:NOT_HERE")}})
    box.home.environment.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(box.home)
    assert message in str(caught.value)
    assert str(box.home.environment) in str(caught.value)


def test_byte_order_mark_is_no_part_of_a_secret(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """D4: in the environment file, and in a file of its own."""
    monkeypatch.delenv("WORD", raising=False)
    box.home.environment.write_bytes(codecs.BOM_UTF8 + b"WORD=first\r\n")
    (box.home.root / "word").write_bytes(codecs.BOM_UTF8 + b"second\r\n")
    for reference, value in (("env:WORD", "first"), ("file:word", "second")):
        box.configure({"transports": {"relay": smtp_section(password=reference)}})
        assert password_of(load(box.home)) == value


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "smtp", "host": "env:VALUE"},
        {"type": "maildir", "path": "env:VALUE"},
        {"type": "maildir", "subject_prefix": "env:VALUE"},
        {"type": "slack", "url": "https://hooks.example/x", "username": "env:VALUE"},
    ],
)
def test_any_transport_setting_can_be_a_reference(
    box: Box, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setenv("VALUE", "elsewhere")
    box.configure({"transports": {"one": settings}, "routes": [{"via": "one"}]})

    assert "elsewhere" in repr(load(box.home).config.transports["one"])


@pytest.mark.parametrize("text", ["secret", "env", "file"])
def test_prefix_of_a_reference_alone_is_plain_text(box: Box, text: str) -> None:
    box.configure({"transports": {"relay": smtp_section(password=text, subject_prefix=text)}})

    assert password_of(load(box.home)) == text


def test_encrypted_secret_needs_the_key_file(box: Box, tmp_path: Path) -> None:
    write_config(box)
    store_secret(box, "hook", SIGNING)
    copy = Box(tmp_path / "copy")
    write_config(copy, box.home.config.read_text())

    with pytest.raises(ConfigError, match=r"transports\.oncall\.secret: the key file .* cannot be read"):
        load(copy.home)


@pytest.mark.parametrize("value", ["a: b # c", "žluť ☃", "'\"\\", "  blanks  ", "-", "x" * 5000])
def test_any_single_line_can_be_encrypted(box: Box, value: str) -> None:
    write_config(box)
    store_secret(box, "hook", value)

    assert secret_of(box) == value


@pytest.mark.parametrize("name", ["mail.pass-word", "my hook", "ключ", "on", "123", "null", "a:b", "#x", "'"])
def test_secret_name_can_be_any_text(box: Box, name: str) -> None:
    write_config(box, HAND_MADE.replace("'secret:hook'", json.dumps(f"secret:{name}", ensure_ascii=False)))
    store_secret(box, name, SIGNING)

    assert secret_of(box) == SIGNING


@pytest.mark.parametrize("file", ["~nobody-of-that-name/word", "word"], ids=["unknown user", "empty file"])
def test_file_reference_that_gives_no_value_is_an_error(box: Box, file: str) -> None:
    """Otherwise the password would be empty."""
    (box.home.root / "word").write_text("\n")
    box.configure({"transports": {"relay": smtp_section(password=f"file:{file}")}})

    with pytest.raises(ConfigError, match=r"transports\.relay\.password"):
        load(box.home)


def test_secret_file_that_is_too_large_is_an_error(box: Box) -> None:
    """Its beginning alone would be a wrong password."""
    (box.home.root / "word").write_text("x" * (64 * 1024 + 1))
    box.configure({"transports": {"relay": smtp_section(password="file:word")}})

    with pytest.raises(ConfigError, match=r"transports\.relay\.password: .*word is larger than 65536 bytes"):
        load(box.home)


def lose_key(box: Box, kind: str) -> None:
    key = box.home.root / "secret.key"
    key.unlink()
    if kind == "another":
        key.write_bytes(Fernet.generate_key())
    elif kind == "garbage":
        key.write_text("not a key")
    elif kind == "empty":
        key.touch()
    elif kind == "a folder":
        key.mkdir()


@pytest.mark.parametrize("kind", ["gone", "another", "garbage", "empty", "a folder"])
def test_wrong_key_file_is_an_error_that_secret_set_repairs(box: Box, kind: str) -> None:
    write_config(box)
    store_secret(box, "hook", "the old one")
    lose_key(box, kind)
    with pytest.raises(ConfigError, match=r"transports\.oncall\.secret: the key") as caught:
        load(box.home)
    assert str(box.home.root / "secret.key") in str(caught.value)
    if kind == "a folder":  # no key file can be written there
        done = set_secret(box, "hook", "the new one", check=1)
        assert "Traceback" not in done.stderr
        assert "secret.key" in done.stderr
        return
    set_secret(box, "hook", "the new one")
    assert secret_of(box) == "the new one"


@pytest.mark.parametrize("text", ["gAAAAABn", "plain text", "ž", ""])
def test_value_that_is_no_ciphertext_is_an_error(box: Box, text: str) -> None:
    encrypt("x", box.home)
    write_config(box, f"{HAND_MADE}secrets: {{hook: {json.dumps(text)}}}\n")

    with pytest.raises(ConfigError, match=r"oncall\.secret: ") as caught:
        load(box.home)
    assert not text or text not in str(caught.value)


# Secrets that must appear nowhere; the first two are part of the path of each `Web`.


@pytest.mark.parametrize("name", ["team", "te\u0430m", "te: am", "\u2460"])
@pytest.mark.parametrize(
    ("setting", "secret"),
    [
        ("timeout_secs", "short-word"),
        ("timeout_secs", "longer-" * 30),
        ("username", "first-line\nsecond-line"),
        ("default_recipient", "quoted'\"text"),
    ],
)
def test_error_does_not_show_a_referenced_secret(box: Box, setting: str, secret: str, name: str) -> None:
    """Nor if the name of the transport is escaped in the message, or contains what ends a path."""
    (box.home.root / "word").write_text(secret)
    team = {"type": "slack", "url": "https://hooks.example/x", setting: "file:word"}
    box.configure({"transports": {"box": {"type": "maildir"}, name: team}})
    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert_absent([str(caught.value)], [secret[:6]])


def test_redaction_of_short_value_keeps_the_paths(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a reference may be a word of the message: a user called `notify`."""
    monkeypatch.setenv("SMTP_USER", "notify")
    box.configure({"transports": {"relay": smtp_section(user="env:SMTP_USER")}, "notify": {"interval": "soon"}})

    with pytest.raises(ConfigError, match=r"notify\.interval: expected a number from 1 to 86400 \(seconds\)"):
        load(box.home)


def test_error_about_a_referenced_secret_shows_a_reason_without_it(box: Box) -> None:
    (box.home.root / "word").write_text("correct horse")
    relay = {"type": "smtp", "smtp_url": "smtps://mail.example", "password": "file:word"}
    box.configure({"transports": {"relay": relay}})

    with pytest.raises(ConfigError, match=r"transports\.relay\.password: not allowed together with `smtp_url`"):
        load(box.home)


def test_error_does_not_show_a_plain_text_secret(box: Box) -> None:
    """N03"""
    sections: list[Any] = [
        {"type": "slack", "url": "http://hooks.example/services/T000/secret-path"},
        {"type": "slack", "url": ["https://hooks.example/T000/secret-path"]},
        {"type": "webhook", "url": "ftp://hooks.example/T000/secret-path"},
        {"type": "webhook", "url": "https://hooks.example/T000/secret-path\nx"},
        {"type": "webhook", "url": "https://hooks.example/x", "secret": [SIGNING]},
        {"type": "webhook", "url": "https://hooks.example/x", "headers": {"Authorization": [BEARER]}},
        {"type": "webhook", "url": "https://hooks.example/x", "headers": [f"Authorization: {BEARER}"]},
        {"type": "webhook", "url": "https://hooks.example/x", "headers": f"Authorization: {BEARER}"},
        {"type": "smtp", "smtp_url": f"smtp://{USER}:{PASSWORD}@mail.example:99999"},
        {"type": "smtp", "smtp_url": f"smtp://{USER}:{PASSWORD}@mail.example?tls=off"},
        {"type": "smtp", "smtp_url": {"password": PASSWORD}},
        {"type": "smtp", "host": f"{USER}:{PASSWORD}@mail.example"},
        {"type": "smtp", "host": "mail.example", "password": [PASSWORD]},
        {"type": "smtp", "host": "mail.example", "pasword": PASSWORD},
        f"smtp://{USER}:{PASSWORD}@mail.example",
        "https://hooks.example/T000/secret-path",
    ]
    transports = {f"t{number}": section for number, section in enumerate(sections)}
    ping = {"ping_url": "http://ping.example/T000/secret-path"}
    box.configure({"transports": {"box": {"type": "maildir"}, **transports}, "heartbeat": ping})

    with pytest.raises(ConfigError) as caught:
        load(box.home)
    message = str(caught.value)
    assert [name for name in transports if f"transports.{name}" not in message] == []
    assert "heartbeat.ping_url" in message
    assert_absent([message])


def test_references_need_no_plain_text_warning(box: Box, hook: WebServer, mail_server: MailServer) -> None:
    values = secret_values(hook, mail_server)
    for name, value in values.items():
        (box.home.root / name).write_text(f"{value}\n")
    configure_all(box, mail_server, {name: f"file:{name}" for name in values})

    assert not [warning for warning in load(box.home).warnings if "plain text" in warning]
