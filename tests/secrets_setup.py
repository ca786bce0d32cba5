"""Boxes with secrets in their configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from syftnotify.config.edit import edit
from syftnotify.config.secrets import encrypt
from syftnotify.services.settings import load
from syftnotify.transports.webhook.settings import WebhookSettings
from tests.fakes.mailserver import HOST, PASSWORD, USER, MailServer
from tests.fakes.web import WebServer
from tests.support import OWNER, Box

HAND_MADE = f"""\
# my own comment
do_email: {OWNER}   # that is me
transports:
  box: {{type: maildir}}
  # who is on duty
  oncall: {{type: webhook, url: 'https://hooks.example/x', secret: 'secret:hook'}}   # every night
"""

SIGNING = "whsec_c2lnbmluZy1zZWNyZXQtb2YtdGhlLWhvb2s="


BEARER = "bearer-of-the-hook"


SECRETS = ["T000", "secret-path", SIGNING, SIGNING.removeprefix("whsec_"), BEARER, PASSWORD]


def store_secret(box: Box, name: str, value: str) -> None:
    """Store a secret without running the command."""
    edit(box.home, {("secrets", name): encrypt(value, box.home)})


def set_secret(box: Box, name: str, value: str, *, check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `notify secret set` with the value on standard input."""
    return box.notify("secret", "set", name, stdin=f"{value}\n", check=check)


def assert_absent(texts: Iterable[str], forbidden: Iterable[str] = SECRETS) -> None:
    together = "\n".join(texts)
    assert [text for text in forbidden if text in together] == []


def smtp_section(**more: Any) -> dict[str, Any]:
    return {"type": "smtp", "host": HOST, "user": USER, **more}


def secret_values(hook: WebServer, mail_server: MailServer) -> dict[str, str]:
    """A value for every secret setting, by name."""
    return {
        "team_url": hook.url,
        "hook_url": hook.url,
        "hook_secret": SIGNING,
        "hook_header": f"Bearer {BEARER}",
        "smtp_url": f"smtp://{USER}:{PASSWORD}@{HOST}:{mail_server.port}",
        "smtp_password": PASSWORD,
        "ping_url": hook.url.replace("services", "ping"),
    }


def configure_all(box: Box, mail_server: MailServer, values: dict[str, str], **changes: Any) -> None:
    """Configure the box with the secrets of `secret_values`."""
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "office": {"type": "smtp", "smtp_url": values["smtp_url"]},
                "relay": {
                    "type": "smtp",
                    "host": HOST,
                    "port": mail_server.port,
                    "user": USER,
                    "password": values["smtp_password"],
                },
                "team": {"type": "slack", "url": values["team_url"]},
                "oncall": {
                    "type": "webhook",
                    "url": values["hook_url"],
                    "secret": values["hook_secret"],
                    "headers": {"Authorization": values["hook_header"], "X-Team": "data"},
                },
            },
            "heartbeat": {"ping_url": values["ping_url"]},
            **changes,
        }
    )
    box.home.config.chmod(0o600)


def other_files(box: Box) -> dict[str, str]:
    """The files of the home except the configuration and its key."""
    apart = {box.home.config, box.home.root / "secret.key"}
    paths = [path for path in box.home.root.rglob("*") if path.is_file() and path not in apart]
    return {path.name: path.read_bytes().decode("latin-1") for path in paths}


def secret_of(box: Box) -> str:
    section = load(box.home).config.transports["oncall"]
    assert isinstance(section, WebhookSettings)
    assert section.secret is not None
    return section.secret.get_secret_value()


def write_config(box: Box, text: str = HAND_MADE) -> Path:
    box.home.create()
    box.home.config.write_text(text)
    return box.home.config
