"""`notify secret set`."""

from __future__ import annotations

import pytest
import yaml

from tests.fakes.mailserver import MailServer
from tests.fakes.web import WebServer
from tests.queries import json_list
from tests.secrets_setup import (
    HAND_MADE,
    SIGNING,
    assert_absent,
    configure_all,
    secret_of,
    set_secret,
    store_secret,
    write_config,
)
from tests.support import Box

# Secrets that must appear nowhere; the first two are part of the path of each `Web`.


def test_secret_set_encrypts_and_keeps_comments(box: Box) -> None:
    """N03"""
    config = write_config(box)
    done = set_secret(box, "hook", SIGNING)

    text = config.read_text()
    assert SIGNING not in text
    assert all(comment in text for comment in ("# my own comment", "# that is me", "# who is on duty", "# every night"))
    before = yaml.safe_load(HAND_MADE)
    after = yaml.safe_load(text)
    assert list(after.pop("secrets")) == ["hook"]
    assert after == before
    assert secret_of(box) == SIGNING
    assert "secret:hook" in done.stdout
    assert_absent([done.stdout, done.stderr])
    for path in (config, box.home.root / "secret.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_secret_set_again_replaces_only_that_secret(box: Box) -> None:
    write_config(box)
    store_secret(box, "other", "another")
    store_secret(box, "hook", "the old one")
    old = yaml.safe_load(box.home.config.read_text())["secrets"]
    key = (box.home.root / "secret.key").read_bytes()
    set_secret(box, "hook", "the new one")
    new = yaml.safe_load(box.home.config.read_text())["secrets"]

    assert secret_of(box) == "the new one"
    assert new.keys() == old.keys()
    assert new["other"] == old["other"]
    assert old["hook"] not in box.home.config.read_text()
    assert (box.home.root / "secret.key").read_bytes() == key


@pytest.mark.parametrize("name", ["", " "])
def test_secret_set_with_empty_name_stores_nothing(box: Box, name: str) -> None:
    config = write_config(box)

    assert "the name of the secret is empty" in box.notify("secret", "set", name, check=2).stderr
    assert config.read_text(encoding="utf-8") == HAND_MADE


def test_secret_set_without_input_stores_nothing(box: Box) -> None:
    write_config(box)
    done = set_secret(box, "hook", "", check=1)

    assert "nothing was stored" in done.stderr
    assert box.home.config.read_text() == HAND_MADE


@pytest.mark.parametrize("text", [None, "- a list\n", "do_email: [\n"])
def test_secret_set_without_usable_config_is_refused(box: Box, text: str | None) -> None:
    if text is None:
        box.home.config.unlink()
    else:
        write_config(box, text)
    code = 1 if text is None else 2
    done = set_secret(box, "hook", SIGNING, check=code)

    assert str(box.home.config) in done.stderr
    assert "Traceback" not in done.stderr
    assert_absent([done.stderr])
    assert (box.home.config.read_text() if box.home.config.exists() else None) == text


def test_run_once_lists_every_unusable_secret_with_its_path(box: Box, hook: WebServer, mail_server: MailServer) -> None:
    """N03: exit code 2."""
    (box.home.root / "folder").mkdir()
    (box.home.root / "binary").write_bytes(b"\xff\xfe\x00")
    values = {
        "team_url": "env:NOT_THERE",
        "hook_url": "file:nowhere",
        "hook_secret": "file:folder",
        "hook_header": "file:binary",
        "smtp_url": "secret:unknown",
        "smtp_password": "secret:gone",
        "ping_url": "env:NOT_THERE_EITHER",
    }
    configure_all(box, mail_server, values)
    done = box.notify("run", "--once", check=2)

    assert "Traceback" not in done.stderr
    expected = {
        "transports.team.url": ["NOT_THERE", "notify start"],
        "transports.oncall.url": [str(box.home.root / "nowhere"), "No such file"],
        "transports.oncall.secret": ["folder", "Is a directory"],
        "transports.oncall.headers.Authorization": ["binary", "save it as UTF-8"],
        "transports.office.smtp_url": ["notify secret set unknown"],
        "transports.relay.password": ["notify secret set gone"],
        "heartbeat.ping_url": ["NOT_THERE_EITHER", "notify start"],
    }
    for path, forbidden in expected.items():
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"  {path}: ")]
        assert all(text in line for text in forbidden)
    assert str(box.home.config) in done.stderr


def test_secrets_are_listed_and_removed_when_no_setting_uses_them(box: Box) -> None:
    write_config(box)
    store_secret(box, "hook", SIGNING)
    store_secret(box, "old", "unused")
    listed = box.notify("secret", "list", check=0).stdout.splitlines()
    used_by = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in listed}

    assert used_by.keys() == {"hook", "old"}
    assert used_by["old"] == "not used"
    assert used_by["hook"].startswith("transports.")
    assert "refers to the secret 'hook': transports." in box.notify("secret", "rm", "hook", check=1).stderr
    assert "there is no secret 'none'" in box.notify("secret", "rm", "none", check=1).stderr
    box.notify("secret", "rm", "old", check=0)
    assert [each["name"] for each in json_list(box, "secret", "list")] == ["hook"]
    assert "# my own comment" in box.home.config.read_text()
