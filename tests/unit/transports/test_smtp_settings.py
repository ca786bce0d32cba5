"""The other settings of an SMTP section: sender, limits, unknown outcomes, misspelled keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.runtime.container import build_app
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from syftnotify.transports.smtp.server import Mailbox, parse_mailbox
from tests.unit.transports.smtp_sections import GOOD, SECRET, config_errors, loaded_section, write_config

NAME = "expected an address, or a name and an address: 'SyftBox <noreply@mail.example>'"


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("noreply@mail.example", Mailbox("noreply@mail.example")),
        ("<noreply@mail.example>", Mailbox("noreply@mail.example")),
        ("SyftBox <noreply@mail.example>", Mailbox("noreply@mail.example", "SyftBox")),
        ("Ünis Daten <noreply@mail.example>", Mailbox("noreply@mail.example", "Ünis Daten")),
        ('"Doe, Jane" <jane@x.org>', Mailbox("jane@x.org", "Doe, Jane")),
    ],
)
def test_smtp_from_is_an_address_with_an_optional_name(home: Home, text: str, box: Mailbox) -> None:
    """G13"""
    assert loaded_section(home, **{"from": text}).sender == box
    assert parse_mailbox(text) == box


@pytest.mark.parametrize(
    "text",
    [
        "SyftBox",
        "SyftBox <>",
        "SyftBox <noreply>",
        "SyftBox noreply@mail.example",
        "a@x.org, b@x.org",
        "Ann <a@x.org>, Bo <b@x.org>",
        "SyftBox\r\nBcc: eve@x.org <noreply@mail.example>",
        '"SyftBox\nBcc: eve@x.org" <noreply@mail.example>',
        "Syft\u202eBox <noreply@mail.example>",
        "noreply@mäil.example",
        "",
        3,
        ["a@x.org"],
    ],
)
def test_smtp_from_that_is_invalid_is_named_by_path(home: Home, text: Any) -> None:
    """G13: and the key is called as it is in the file."""
    assert config_errors(home, {"type": "smtp", "smtp_url": GOOD, "from": text}) == [f"transports.mail.from: {NAME}"]


def test_smtp_from_is_unset_by_default(home: Home) -> None:
    assert loaded_section(home).sender is None


def test_smtp_defaults_are_the_documented_ones(home: Home) -> None:
    """G10, G11"""
    mail = loaded_section(home)

    assert (mail.timeout_secs, mail.max_retries, mail.rate, mail.burst) == (60, None, None, 5)
    assert (mail.ca_file, mail.on_unknown) == (None, None)


def test_smtp_ca_file_is_relative_to_the_home(home: Home, tmp_path: Path) -> None:
    assert loaded_section(home, ca_file="mine.pem").ca_file == home.root / "mine.pem"
    assert loaded_section(home, ca_file="~/mine.pem").ca_file == tmp_path / "mine.pem"
    assert loaded_section(home, ca_file="/etc/mine.pem").ca_file == Path("/etc/mine.pem")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("timeout_secs", 0, "expected a number from 1 to 3600 (seconds), got 0"),
        ("timeout_secs", 3601, "expected a number from 1 to 3600 (seconds), got 3601"),
        ("timeout_secs", "60", "expected a number from 1 to 3600 (seconds), got '60'"),
        ("timeout_secs", True, "expected a number from 1 to 3600 (seconds), got True"),
        ("timeout_secs", float("nan"), "expected a number from 1 to 3600 (seconds), got nan"),
        ("timeout_secs", float("inf"), "expected a number from 1 to 3600 (seconds), got inf"),
        ("max_retries", -1, "expected an integer from 0 to 1000 (retries), got -1"),
        ("max_retries", 1.5, "expected an integer from 0 to 1000 (retries), got 1.5"),
        ("ca_file", "", "expected a path, got ''"),
        ("ca_file", 3, "expected a path, got 3"),
        ("rate", 0, "expected a number from 0.001 to 10000 (messages a second), got 0"),
    ],
)
def test_smtp_value_out_of_range_is_named_by_path(home: Home, key: str, value: Any, said: str) -> None:
    """S15"""
    assert config_errors(home, {"type": "smtp", "smtp_url": GOOD, key: value}) == [f"transports.mail.{key}: {said}"]


@pytest.mark.parametrize(("value", "seconds"), [(1, 1), (0.5 + 0.5, 1), (3600, 3600), (12.5, 12.5)])
def test_smtp_timeout_is_in_seconds(home: Home, value: float, seconds: float) -> None:
    """G09"""
    assert loaded_section(home, timeout_secs=value).timeout_secs == seconds


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("smtpurl", "smtp_url"),
        ("form", "from"),
        ("frm", "from"),
        ("cafile", "ca_file"),
        ("timeout", "timeout_secs"),
        ("on_unknwon", "on_unknown"),
        ("max_retry", "max_retries"),
    ],
)
def test_smtp_misspelled_key_gets_a_suggestion(home: Home, key: str, near: str) -> None:
    """S15"""
    assert config_errors(home, {"type": "smtp", "smtp_url": GOOD, key: "x"}) == [
        f"transports.mail.{key}: unknown key; did you mean `{near}`?"
    ]


def test_smtp_host_that_is_a_list_is_refused(home: Home) -> None:
    """S15"""
    assert config_errors(home, {"type": "smtp", "host": ["mail.example"]}) == [
        "transports.mail: `host` must be the name of a mail server, such as mail.example"
    ]


def test_smtp_unknown_key_lists_the_separate_settings(home: Home) -> None:
    """D9"""
    (line,) = config_errors(home, {"type": "smtp", "host": "mail.example", "zzz": 1})

    for key in ("host", "port", "user", "password", "tls", "smtp_url"):
        assert f" {key}" in line.partition("known keys:")[2]


def test_smtp_separate_settings_with_a_url_are_refused(home: Home) -> None:
    """D9"""
    lines = config_errors(home, {"type": "smtp", "smtp_url": GOOD, "host": "mail.example", "port": 587})

    assert [line.partition(": ")[0] for line in lines] == ["transports.mail.host", "transports.mail.port"]
    assert all("not allowed together with `smtp_url`" in line for line in lines)


@pytest.mark.parametrize("content", [f"{SECRET}\nmore", f"{SECRET}\0"])
def test_smtp_password_file_with_two_lines_is_refused(home: Home, content: str) -> None:
    """D9: `smtp_url` is a key that nobody wrote."""
    home.create()
    (home.root / "pw").write_text(content, encoding="utf-8")

    (line,) = config_errors(home, {"type": "smtp", "host": "mail.example", "user": "u", "password": "file:pw"})

    assert line == "transports.mail: `password` must be one line of text without control characters"


@pytest.mark.parametrize("reference", ["env:", "secret:", "file:", "env: "])
def test_smtp_reference_without_a_name_is_refused(home: Home, reference: str) -> None:
    """D9"""
    (line,) = config_errors(home, {"type": "smtp", "host": "mail.example", "user": "u", "password": reference})

    assert line.startswith(f"transports.mail.password: `{reference.strip()}` has no name; write `{reference.strip()}")


def test_smtp_sender_is_an_unknown_key(home: Home) -> None:
    (line,) = config_errors(home, {"type": "smtp", "smtp_url": GOOD, "sender": "o@x.org"})

    assert line.startswith("transports.mail.sender: unknown")


@pytest.mark.parametrize("value", ["drop", "", True, 1, ["resend"]])
def test_on_unknown_is_resend_or_hold(home: Home, value: Any) -> None:
    """X03"""
    lines = [
        *config_errors(home, {"type": "smtp", "smtp_url": GOOD, "on_unknown": value}),
        *config_errors(home, {"type": "smtp", "smtp_url": GOOD}, notify={"on_unknown": value}),
    ]

    assert [line.partition(": ")[0] for line in lines] == ["transports.mail.on_unknown", "notify.on_unknown"]
    assert all("resend" in line and "hold" in line for line in lines)


@pytest.mark.parametrize(
    ("overall", "own", "resends"),
    [
        (None, None, True),
        ("resend", None, True),
        ("hold", None, False),
        (None, "hold", False),
        ("hold", "resend", True),
        ("resend", "hold", False),
    ],
)
def test_on_unknown_of_the_transport_precedes_the_global_one(
    home: Home, overall: str | None, own: str | None, resends: bool
) -> None:
    """X03"""
    mail = {"type": "smtp", "smtp_url": GOOD, **({"on_unknown": own} if own else {})}
    found = load(write_config(home, mail, notify={"on_unknown": overall} if overall else {}))
    app = build_app(found)
    try:
        assert app.dispatcher.queues["mail"].options.resend_unknown is resends
        assert found.holding == (frozenset() if resends else {"mail"})
    finally:
        app.close()


def test_smtp_section_reports_all_errors_at_once(home: Home) -> None:
    """S15"""
    section = {
        "type": "smtp",
        "smtp_url": f"smtp://user:{SECRET}@mail.example:port",
        "from": "nobody",
        "ca_file": "",
        "timeout_secs": 0,
        "on_unknown": "drop",
        "tls": "required",
    }
    lines = config_errors(home, section)

    assert [line.partition(": ")[0].removeprefix("transports.mail.") for line in lines] == [
        "max_retries" if key == "type" else key
        for key in ("on_unknown", "smtp_url", "from", "ca_file", "timeout_secs", "tls")
    ]


def test_default_mail_transport_is_gmail_then_smtp_then_maildir(home: Home) -> None:
    home.create()
    transports = {"box": {"type": "maildir"}, "b": {"type": "smtp", "smtp_url": GOOD}, "a": {"type": "gmail"}}
    for expected in ("a", "b", "box"):
        home.config.write_text(yaml.safe_dump({"do_email": "o@x.org", "transports": transports}), encoding="utf-8")
        assert load(home).default_mail_transport == expected
        del transports[expected]
