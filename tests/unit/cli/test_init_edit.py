"""`notify init` with an existing configuration: what it changes and what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify.services.settings import load
from tests.queries import read_config
from tests.support import BO, OWNER, Box


@pytest.mark.parametrize(("value", "written"), [("12", 12), ("12.5", 12.5), ("30s", "30s"), ("5m", "5m")])
def test_init_interval_takes_seconds_or_a_duration(box: Box, value: str, written: float | str) -> None:
    """D8"""
    box.notify("init", "--interval", value, "--no-test", check=0)

    assert yaml.safe_load(box.home.config.read_text())["notify"]["interval"] == written


TEAM = "  team: {type: slack, url: 'https://hooks.slack.example/x'}  # the team\n"


@pytest.mark.parametrize(
    ("before", "arguments", "after", "mail_transport"),
    [
        ("  mail: {type: gmail}\n", ("--smtp-url", "URL"), {"mail": {"type": "smtp", "smtp_url": "URL"}}, "mail"),
        (
            "  g: {type: gmail, token: t.json, subject_prefix: x}\n",
            ("--smtp-url", "URL"),
            {"g": {"type": "smtp", "subject_prefix": "x", "smtp_url": "URL"}},
            "g",
        ),
        (
            "  box: {type: maildir, path: off-site}\n",
            ("--smtp-url", "URL"),
            {"box": {"type": "maildir", "path": "off-site"}, "mail": {"type": "smtp", "smtp_url": "URL"}},
            "mail",
        ),
        (
            "  office: {type: smtp, host: relay.example, port: 465, user: a, password: b, from: a@b.example}\n",
            ("--smtp-url", "URL"),
            {"office": {"type": "smtp", "from": "a@b.example", "smtp_url": "URL"}},
            "office",
        ),
        (
            "  mail: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}\n",
            ("--transport", "gmail"),
            {"mail": {"type": "smtp", "smtp_url": "smtp://127.0.0.1:1"}, "gmail": {"type": "gmail"}},
            "gmail",
        ),
        (
            "  mail: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}\n",
            ("--transport", "maildir"),
            {"mail": {"type": "maildir"}},
            "mail",
        ),
        ("  box: {type: maildir}\n", ("--transport", "maildir"), {"box": {"type": "maildir"}}, "box"),
        ("", ("--smtp-url", "URL"), {"mail": {"type": "smtp", "smtp_url": "URL"}}, "mail"),
    ],
)
def test_init_mail_option_changes_only_the_mail_transport(
    box: Box, before: str, arguments: tuple[str, ...], after: dict[str, Any], mail_transport: str
) -> None:
    """D5: routes refer to transports by name, and stay valid."""
    url = "smtp://127.0.0.1:2525"
    name = before.split(":", maxsplit=1)[0].strip()
    routes = f"routes+: [{{via: {name}, to: owner}}, {{via: team}}]\n" if name else "routes+: [{via: team}]\n"
    box.home.config.write_text(f"do_email: {OWNER}\nsyftbox_root: {box.root}\ntransports:\n{before}{TEAM}{routes}")
    text = box.home.config.read_text()

    done = box.notify("init", "--no-test", *(url if word == "URL" else word for word in arguments))

    assert done.returncode in {0, 5}, done.stderr
    settings = load(box.home)
    assert settings.default_mail_transport == mail_transport
    expected = {key: {k: url if v == "URL" else v for k, v in section.items()} for key, section in after.items()}
    found = yaml.safe_load(box.home.config.read_text())["transports"]
    assert found == {**expected, "team": {"type": "slack", "url": "https://hooks.slack.example/x"}}
    assert "# the team" in box.home.config.read_text()
    if "token" in before:
        assert "removed from `g`: token" in done.stdout
        assert (box.home.root / "config.yaml.old").read_text() == text


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ("routes: [{via: gmail, to: owner}]\n", "routes[0].via: there is no transport 'gmail'"),
        (
            "transports: {a: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}, b: {type: gmail, token: x}}\n",
            "mail would still go out through transport `a`",
        ),
    ],
)
def test_init_that_cannot_change_the_transport_changes_nothing(box: Box, before: str, error: str) -> None:
    """D5: and the error names no option that was not given."""
    text = f"do_email: {OWNER}\nsyftbox_root: {box.root}\n{before}"
    box.home.config.write_text(text)

    done = box.notify("init", "--no-test", "--smtp-url", "smtp://127.0.0.1:2525", check=2)

    assert error in " ".join(done.stderr.split())
    assert "nothing was changed" in done.stderr
    assert "--transport" not in done.stderr
    assert box.home.config.read_text() == text


def test_init_keeps_the_secret_of_another_transport(box: Box) -> None:
    """D5: `secret:smtp` may be another server's."""
    sections = "  relay: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}\n  other: {type: smtp, smtp_url: 'secret:smtp'}\n"
    box.home.config.write_text(f"do_email: {OWNER}\nsyftbox_root: {box.root}\ntransports:\n{sections}")
    box.notify("secret", "set", "smtp", stdin="smtp://127.0.0.1:2\n", check=0)

    box.notify("init", "--no-test", "--smtp-url", "smtp://a:b@127.0.0.1:3", check=0)

    servers = {
        name: section.model_dump()["smtp_url"]["port"] for name, section in load(box.home).config.transports.items()
    }
    assert servers == {"relay": 3, "other": 2}


HAND_MADE = f"""\
# my own comment
do_email: "{OWNER}"   # that is me
syftbox_root: ~/box

notify:
  # not so often
  interval: 45   # seconds
  monitor_jobs: true

recipients:
  allow:
    - '*@uni.example'   # the whole faculty
transports:
  box: {{type: maildir, path: off-site}}
"""


def test_init_options_change_only_their_keys(new_user: Box, user_home: Path) -> None:
    """S15: comments and all other values stay."""
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE)

    new_user.notify("init", "--interval", "20", "--no-notify-peers", "--no-test", check=0)

    expected = yaml.safe_load(HAND_MADE)
    expected["notify"] |= {"interval": 20, "monitor_peers": False}
    assert read_config(user_home) == expected
    written = (user_home / "config.yaml").read_text()
    comments = ("# my own comment", "# that is me", "# not so often", "# seconds", "# the whole faculty")
    assert all(comment in written for comment in comments)


@pytest.mark.parametrize("word", ["off", "on", "1_000", "12:30"])
def test_init_keeps_quoted_text_quoted(new_user: Box, user_home: Path, word: str) -> None:
    """S15: without its quotes it would be read as a boolean or a number."""
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE.replace("off-site", f'"{word}"'))

    new_user.notify("init", "--interval", "20", "--no-test", check=0)

    assert read_config(user_home)["transports"]["box"]["path"] == word


def test_init_changes_one_line_of_its_own_file(new_user: Box, user_home: Path) -> None:
    """S15: so that a diff shows what changed."""
    new_user.notify("init", "--email", OWNER, "--transport", "maildir", "--no-test", check=0)
    before = (user_home / "config.yaml").read_text().splitlines()

    new_user.notify("init", "--no-notify-jobs", "--no-test", check=0)

    after = (user_home / "config.yaml").read_text().splitlines()
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ("  monitor_jobs: true", "  monitor_jobs: false")
    ]


def test_init_without_changes_keeps_the_file(new_user: Box, user_home: Path) -> None:
    """S15."""
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE)

    done = new_user.notify("init", "--no-test", check=0)

    assert "unchanged" in done.stdout
    assert (user_home / "config.yaml").read_text() == HAND_MADE


def test_init_force_starts_over_and_keeps_the_old_file(new_user: Box, user_home: Path) -> None:
    """S16."""
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE)

    new_user.notify("init", "--force", "--email", BO, "--transport", "maildir", "--no-test", check=0)

    config = read_config(user_home)
    assert config["do_email"] == BO
    assert "recipients" not in config
    assert config["notify"]["interval"] == 30
    assert (user_home / "config.yaml.old").read_text() == HAND_MADE
    assert (user_home / "config.yaml.old").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--email", "nobody"),
        ("--interval", "0"),
        ("--interval", "soon"),
        ("--interval", "nan"),
        ("--transport", "pigeon"),
        ("--alert-contact", "http://elsewhere.example/"),
        ("--alert-contact", ""),
        ("--alert-contact", " "),
        ("--smtp-url", ""),
        ("--force", "--email", OWNER, "--interval", "-1"),
        ("--force",),
    ],
    ids=" ".join,
)
def test_init_with_wrong_value_keeps_the_old_file(new_user: Box, user_home: Path, flags: tuple[str, ...]) -> None:
    """S15."""
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE)

    done = new_user.notify("init", "--no-test", *flags, check=2)

    assert "Traceback" not in done.stderr
    assert (user_home / "config.yaml").read_text() == HAND_MADE


@pytest.mark.parametrize("content", [b"do_email: j\xf6rg@uni.example\n", b"notify: [\n", b"- a list\n"])
def test_init_leaves_an_unreadable_config_alone(new_user: Box, user_home: Path, content: bytes) -> None:
    """S15."""
    user_home.mkdir()
    (user_home / "config.yaml").write_bytes(content)

    done = new_user.notify("init", "--interval", "20", "--no-test", check=2)

    assert "Traceback" not in done.stderr
    assert (user_home / "config.yaml").read_bytes() == content
