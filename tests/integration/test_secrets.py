"""Secrets arrive where they are used, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from standardwebhooks import Webhook as Verifier

from tests.fakes.mailserver import USER, MailServer
from tests.fakes.web import WebServer, serve_web
from tests.secrets_setup import BEARER, SIGNING, assert_absent, configure_all, secret_values, set_secret, store_secret
from tests.support import ANA, Box
from tests.trees import TREES, Disk

# Secrets that must appear nowhere; the first two are part of the path of each `Web`.


def reference_to(box: Box, kind: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference to a secret of this kind; stores the value if the kind is not `secret`."""
    if kind == "env":
        monkeypatch.setenv(name.upper(), value)
        return f"env:{name.upper()}"
    if kind == "file":
        (box.home.root / name).write_text(f"{value}\n")
        return f"file:{name}"
    return f"secret:{name}"


@pytest.mark.parametrize("kind", ["env", "file", "secret"])
def test_secret_arrives_from_each_place_in_each_setting(
    box: Box, hook: WebServer, mail_server: MailServer, kind: str, monkeypatch: pytest.MonkeyPatch
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


def test_commands_read_the_environment_file(box: Box, hook: WebServer) -> None:
    """B07"""
    box.configure({"transports": {"box": {"type": "maildir"}, "team": {"type": "slack", "url": "env:TEAM_URL"}}})
    box.home.environment.write_text(f"# for systemd\nTEAM_URL='{hook.url}'\n")
    box.notify("test", "team", check=0)

    assert len(hook.requests) == 1


def test_job_can_name_transports_but_no_url(box: Box, hook: WebServer) -> None:
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
    box.scan()
    with serve_web() as elsewhere:
        alerts = {"recipients": ["oncall", elsewhere.url, "secret:hook", "env:HOME"]}
        tree.submit("survey", ANA, config={"headers": {"alerts": alerts}})
        tree.approve("survey", ANA)
        tree.run("survey", ANA, code=1)
        box.clock.advance(60)
        box.scan()
        assert elsewhere.requests == []

    assert [request.json["event"] for request in hook.requests] == ["job_failed"]
    assert str(Path.home()) not in box.notify("why", "survey", check=0).stdout


def test_plain_text_secret_works_with_one_warning_of_its_keys(
    box: Box, hook: WebServer, mail_server: MailServer
) -> None:
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
