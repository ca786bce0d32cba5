"""The section of a mail server: what it may say, and mistakes that name the place and never the password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.config.load import Settings
from syftnotify.core.errors import ConfigError
from syftnotify.runtime.container import build_app
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from syftnotify.transports.smtp.server import Mailbox, SmtpServer, parse_mailbox, parse_smtp_url
from syftnotify.transports.smtp.settings import SmtpSettings

SECRET = "hunter2"
GOOD = "smtp://mail.example:587"
ADDRESS = (
    "expected an address such as 'smtp://user:password@mail.example:587', letters like @ and # written as %40, %23"
)
NAME = "expected an address, or a name and an address: 'SyftBox <noreply@mail.example>'"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path / "home")


def written(home: Home, transport: Any, **more: Any) -> Home:
    """A home with one transport, `mail`."""
    home.create()
    content = {"do_email": "o@x.org", "transports": {"mail": transport}, **more}
    home.config.write_text(yaml.safe_dump(content), encoding="utf-8")
    return home


def loaded(home: Home, **keys: Any) -> SmtpSettings:
    found = load(written(home, {"type": "smtp", "smtp_url": GOOD, **keys})).config.transports["mail"]
    assert isinstance(found, SmtpSettings)
    return found


def mistakes(home: Home, transport: Any, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(home, transport, **more))
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.hint}"
    head, *lines = str(caught.value).splitlines()
    assert head == f"config.yaml: {len(lines)} error{'' if len(lines) == 1 else 's'}"
    return [line.strip() for line in lines]


# -- the address of the server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://user:pass@host:465", SmtpServer("host", 465, "user", "pass", "implicit")),
        ("smtp://user:pass@host:587?tls=required", SmtpServer("host", 587, "user", "pass", "required")),
        ("smtp://localhost:25", SmtpServer("localhost", 25, "", "", "off")),
    ],
)
def test_the_three_documented_forms_are_understood(home: Home, url: str, server: SmtpServer) -> None:
    """G12"""
    assert loaded(home, smtp_url=url).smtp_url == server
    assert loaded(home, smtp_url=url).smtp_url.password == server.password


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
def test_beyond_this_machine_encryption_is_required_unless_it_is_switched_off(
    home: Home, url: str, port: int, tls: str
) -> None:
    """G12"""
    server = loaded(home, smtp_url=url).smtp_url

    assert (server.port, server.tls) == (port, tls)


@pytest.mark.parametrize(
    ("quoted", "password"),
    [("p%40ss%3Aw%2Frd%3F%23", "p@ss:w/rd?#"), ("%25", "%"), ("a+b", "a+b"), ("pä%C3%9F", "päß"), ("a@b", "a@b")],
)
def test_what_an_address_cannot_hold_as_it_is_stands_there_percent_encoded(
    home: Home, quoted: str, password: str
) -> None:
    """G12"""
    server = loaded(home, smtp_url=f"smtps://me%40x.org:{quoted}@mail.example").smtp_url

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
def test_what_is_no_address_of_a_server_is_a_mistake_by_its_path(home: Home, url: Any) -> None:
    """G12, S15"""
    assert mistakes(home, {"type": "smtp", "smtp_url": url}) == [f"transports.mail.smtp_url: {ADDRESS}"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://mail.example?tls=on", "`tls` must be `required` or `off`"),
        ("smtp://mail.example?tls=required&starttls=1", "the only option of an SMTP address is `tls`"),
        ("smtps://mail.example?tls=off", "smtps:// is encrypted from the start; use smtp:// for `tls=off`"),
        (
            f"smtp://user:{SECRET}@mail.example?tls=off",
            "a password is never sent unencrypted; remove `tls=off`",
        ),
    ],
)
def test_options_that_cannot_be_are_a_mistake_that_says_why(home: Home, url: str, said: str) -> None:
    """G12"""
    (line,) = mistakes(home, {"type": "smtp", "smtp_url": url})

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
def test_a_password_that_was_not_percent_encoded_is_a_mistake_and_not_repeated(home: Home, password: str) -> None:
    """N03: `/`, `?` and `#` end the name of the host, and what follows is somebody's password."""
    (line,) = mistakes(home, {"type": "smtp", "smtp_url": f"smtp://user:{password}@mail.example:587"})

    assert line.startswith("transports.mail.smtp_url: ")


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text("/?#@:[]%=& ", max_size=3))
def test_no_password_comes_back_in_a_mistake(before: str, after: str) -> None:
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
def test_an_address_in_the_wrong_place_is_not_repeated(home: Home, where: dict[str, Any]) -> None:
    """N03: who writes it one level too high has written a password there."""
    assert mistakes(home, {"type": "maildir"}, **where)


def test_the_address_must_be_set(home: Home) -> None:
    assert mistakes(home, {"type": "smtp"}) == ["transports.mail.smtp_url: missing; it must be set"]


def test_nothing_that_is_loaded_shows_the_password(home: Home) -> None:
    """N03"""
    settings: Settings = load(written(home, {"type": "smtp", "smtp_url": f"smtps://user:{SECRET}@mail.example"}))

    assert SECRET not in f"{settings!r} {settings!s} {settings.config!r} {settings.config!s} {settings.warnings}"


# -- who it comes from -------------------------------------------------------------------------------------------


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
def test_from_is_an_address_with_a_name_or_without(home: Home, text: str, box: Mailbox) -> None:
    """G13"""
    assert loaded(home, **{"from": text}).sender == box
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
def test_what_is_no_one_mailbox_is_a_mistake_by_its_path(home: Home, text: Any) -> None:
    """G13: and the key is called as it is in the file."""
    assert mistakes(home, {"type": "smtp", "smtp_url": GOOD, "from": text}) == [f"transports.mail.from: {NAME}"]


def test_unset_the_owner_is_who_it_comes_from(home: Home) -> None:
    assert loaded(home).sender is None


# -- the rest ----------------------------------------------------------------------------------------------------


def test_defaults_are_the_documented_ones(home: Home) -> None:
    """G10, G11"""
    mail = loaded(home)

    assert (mail.timeout_secs, mail.max_retries, mail.rate, mail.burst) == (60, None, None, 5)
    assert (mail.ca_file, mail.on_unknown) == (None, None)


def test_a_private_authoritys_file_lies_below_the_home(home: Home, tmp_path: Path) -> None:
    assert loaded(home, ca_file="mine.pem").ca_file == home.root / "mine.pem"
    assert loaded(home, ca_file="~/mine.pem").ca_file == tmp_path / "mine.pem"
    assert loaded(home, ca_file="/etc/mine.pem").ca_file == Path("/etc/mine.pem")


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
def test_a_value_out_of_range_is_a_mistake_by_its_path(home: Home, key: str, value: Any, said: str) -> None:
    """S15"""
    assert mistakes(home, {"type": "smtp", "smtp_url": GOOD, key: value}) == [f"transports.mail.{key}: {said}"]


@pytest.mark.parametrize(("value", "seconds"), [(1, 1), (0.5 + 0.5, 1), (3600, 3600), (12.5, 12.5)])
def test_the_time_limit_is_in_seconds(home: Home, value: float, seconds: float) -> None:
    """G09"""
    assert loaded(home, timeout_secs=value).timeout_secs == seconds


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
def test_a_misspelled_key_is_told_with_the_right_one(home: Home, key: str, near: str) -> None:
    """S15"""
    assert mistakes(home, {"type": "smtp", "smtp_url": GOOD, key: "x"}) == [
        f"transports.mail.{key}: unknown key; did you mean `{near}`?"
    ]


def test_unknown_key_lists_the_single_settings_of_the_server_too(home: Home) -> None:
    """D9"""
    (line,) = mistakes(home, {"type": "smtp", "host": "mail.example", "zzz": 1})

    for key in ("host", "port", "user", "password", "tls", "smtp_url"):
        assert f" {key}" in line.partition("known keys:")[2]


def test_single_settings_beside_the_url_are_refused_with_the_reason(home: Home) -> None:
    """D9"""
    lines = mistakes(home, {"type": "smtp", "smtp_url": GOOD, "host": "mail.example", "port": 587})

    assert [line.partition(": ")[0] for line in lines] == ["transports.mail.host", "transports.mail.port"]
    assert all("not allowed together with `smtp_url`" in line for line in lines)


@pytest.mark.parametrize("content", [f"{SECRET}\nmore", f"{SECRET}\0"])
def test_password_file_that_is_not_one_line_names_the_password(home: Home, content: str) -> None:
    """D9: `smtp_url` is a key that nobody wrote."""
    home.create()
    (home.root / "pw").write_text(content, encoding="utf-8")

    (line,) = mistakes(home, {"type": "smtp", "host": "mail.example", "user": "u", "password": "file:pw"})

    assert line == "transports.mail: `password` must be one line of text without control characters"


@pytest.mark.parametrize("reference", ["env:", "secret:", "file:", "env: "])
def test_reference_that_names_nothing_is_refused(home: Home, reference: str) -> None:
    """D9"""
    (line,) = mistakes(home, {"type": "smtp", "host": "mail.example", "user": "u", "password": reference})

    assert line.startswith(f"transports.mail.password: `{reference.strip()}` has no name; write `{reference.strip()}")


def test_from_is_the_only_name_of_from(home: Home) -> None:
    (line,) = mistakes(home, {"type": "smtp", "smtp_url": GOOD, "sender": "o@x.org"})

    assert line.startswith("transports.mail.sender: unknown")


@pytest.mark.parametrize("value", ["drop", "", True, 1, ["resend"]])
def test_only_two_things_can_become_of_what_may_have_arrived(home: Home, value: Any) -> None:
    """X03"""
    lines = [
        *mistakes(home, {"type": "smtp", "smtp_url": GOOD, "on_unknown": value}),
        *mistakes(home, {"type": "smtp", "smtp_url": GOOD}, notify={"on_unknown": value}),
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
def test_a_transports_own_word_on_what_may_have_arrived_goes_first(
    home: Home, overall: str | None, own: str | None, resends: bool
) -> None:
    """X03"""
    mail = {"type": "smtp", "smtp_url": GOOD, **({"on_unknown": own} if own else {})}
    found = load(written(home, mail, notify={"on_unknown": overall} if overall else {}))
    parts = build_app(found)
    try:
        assert parts.dispatcher.queues["mail"].options.resend_unknown is resends
        assert found.holding == (frozenset() if resends else {"mail"})
    finally:
        parts.close()


def test_all_mistakes_of_a_section_are_told_at_once(home: Home) -> None:
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
    lines = mistakes(home, section)

    assert [line.partition(": ")[0].removeprefix("transports.mail.") for line in lines] == [
        "max_retries" if key == "type" else key
        for key in ("on_unknown", "smtp_url", "from", "ca_file", "timeout_secs", "tls")
    ]


def test_mail_goes_out_by_the_first_gmail_then_smtp_then_maildir(home: Home) -> None:
    home.create()
    transports = {"box": {"type": "maildir"}, "b": {"type": "smtp", "smtp_url": GOOD}, "a": {"type": "gmail"}}
    for expected in ("a", "b", "box"):
        home.config.write_text(yaml.safe_dump({"do_email": "o@x.org", "transports": transports}), encoding="utf-8")
        assert load(home).default_mail_transport == expected
        del transports[expected]
