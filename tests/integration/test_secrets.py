"""Secrets arrive where they are used, and only there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from standardwebhooks import Webhook as Verifier

from syftnotify.config.edit import edit
from syftnotify.config.secrets import encrypt
from tests.fakes import mailserver
from tests.fakes.mailserver import HOST, PASSWORD, USER, MailServer
from tests.fakes.web import Web, web
from tests.support import ANA, Box
from tests.trees import TREES, Disk

BEARER = "bearer-of-the-hook"


SIGNING = "whsec_c2lnbmluZy1zZWNyZXQtb2YtdGhlLWhvb2s="


# Secrets that must appear nowhere; the first two are part of the path of each `Web`.
SECRETS = ["T000", "secret-path", SIGNING, SIGNING.removeprefix("whsec_"), BEARER, PASSWORD]


def assert_absent(texts: Iterable[str], forbidden: Iterable[str] = SECRETS) -> None:
    together = "\n".join(texts)
    assert [text for text in forbidden if text in together] == []


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A mail server that requires a sign-in."""
    with mailserver.serving(users={USER: PASSWORD}) as server:
        yield server


def configure_all(box: Box, mail_server: MailServer, values: dict[str, str], **changes: Any) -> None:
    """Configure the box with `values` in those settings."""
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


def reference_to(box: Box, kind: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference to a secret of this kind; stores the value if the kind is not `secret`."""
    if kind == "env":
        monkeypatch.setenv(name.upper(), value)
        return f"env:{name.upper()}"
    if kind == "file":
        (box.home.root / name).write_text(f"{value}\n")
        return f"file:{name}"
    return f"secret:{name}"


def set_secret(box: Box, name: str, value: str, *, check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `notify secret set` with the value on standard input."""
    return box.notify("secret", "set", name, typed=f"{value}\n", check=check)


def secret_values(hook: Web, mail_server: MailServer) -> dict[str, str]:
    """A value for every setting that is a secret, by a name for it."""
    return {
        "team_url": hook.url,
        "hook_url": hook.url,
        "hook_secret": SIGNING,
        "hook_header": f"Bearer {BEARER}",
        "smtp_url": f"smtp://{USER}:{PASSWORD}@{HOST}:{mail_server.port}",
        "smtp_password": PASSWORD,
        "ping_url": hook.url.replace("services", "ping"),
    }


def store_secret(box: Box, name: str, value: str) -> None:
    """Store a secret without the command."""
    edit(box.home, {("secrets", name): encrypt(value, box.home)})


@pytest.mark.parametrize("kind", ["env", "file", "secret"])
def test_secret_arrives_from_each_place_in_each_setting(
    box: Box, hook: Web, mail_server: MailServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N03: in every setting that may be one."""
    box.home.create()
    values = secret_values(hook, mail_server)
    configure_all(
        box, mail_server, {name: reference_to(box, kind, name, value, monkeypatch) for name, value in values.items()}
    )
    if kind == "secret":
        for name, value in values.items():
            store_secret(box, name, value)
        set_secret(box, "hook_secret", values["hook_secret"])
    box.notify("test", check=0)
    box.notify("run", "--once", check=0)

    pings = [request for request in hook.requests if request.line.startswith("GET ")]
    slack, webhook = sorted(
        (request for request in hook.requests if request.line.startswith("POST ")),
        key=lambda request: "webhook-id" in request.headers,
    )
    assert slack.line.split()[1] == webhook.line.split()[1] == "/services/T000/secret-path"
    assert [ping.line.split()[1] for ping in pings] == ["/ping/T000/secret-path"]
    assert webhook.headers["authorization"] == f"Bearer {BEARER}"
    assert Verifier(SIGNING).verify(webhook.body, webhook.headers)["event"] == "test"
    assert [mail.user for mail in mail_server.committed] == [USER, USER]
    assert_absent([yaml.safe_dump(yaml.safe_load(box.home.config.read_text()))])


def test_commands_read_the_environment_file(box: Box, hook: Web) -> None:
    """B07"""
    box.configure({"transports": {"box": {"type": "maildir"}, "team": {"type": "slack", "url": "env:TEAM_URL"}}})
    box.home.environment.write_text(f"# for systemd\nTEAM_URL='{hook.url}'\n")
    box.notify("test", "team", check=0)

    assert len(hook.requests) == 1


def test_job_can_name_transports_but_no_url(box: Box, hook: Web) -> None:
    """N30: a job cannot make the owner's machine call a URL, and needs to contain none."""
    oncall = {"type": "webhook", "url": hook.url}
    box.configure(
        {
            "transports": {"box": {"type": "maildir"}, "oncall": oncall},
            "recipients": {"allow": ["*"]},
            "routes": [{"events": ["job_held"]}],
        }
    )
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.look()
    with web() as elsewhere:
        alerts = {"recipients": ["oncall", elsewhere.url, "secret:hook", "env:HOME"]}
        tree.submit("survey", ANA, config={"headers": {"alerts": alerts}})
        tree.approve("survey", ANA)
        tree.run("survey", ANA, code=1)
        box.clock.advance(60)
        box.look()
        assert elsewhere.requests == []

    assert [request.json["event"] for request in hook.requests] == ["job_failed"]
    assert str(Path.home()) not in box.notify("why", "survey", check=0).stdout


def test_plain_text_secret_works_with_one_warning_of_its_keys(box: Box, hook: Web, mail_server: MailServer) -> None:
    """N03"""
    configure_all(box, mail_server, secret_values(hook, mail_server))
    once, check = box.notify("run", "--once", check=0), box.notify("doctor")
    test = box.notify("test", "oncall", check=0)

    (line,) = [line for line in once.stderr.splitlines() if "plain text" in line]
    keys = ["team.url", "oncall.secret", "oncall.headers.Authorization", "office.smtp_url", "relay.password"]
    assert all(f"transports.{key}" in line for key in keys)
    assert "X-Team" not in line
    assert "notify secret set" in line
    assert check.stdout.count("plain text") == 1
    assert_absent([once.stderr, once.stdout, check.stdout, check.stderr, test.stdout, test.stderr])
