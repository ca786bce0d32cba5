"""A home of an earlier version is taken over without a duplicate and without a loss.

The data in `data/homes` was written by earlier versions: mails were sent, others waited for a transport that failed, a
worker was killed during an attempt, an event waited in the spool. The configuration has the old spellings of keys.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from syftnotify.services.settings import load
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import DATA, Box, mails_in

HOMES = DATA / "homes"
STOPPED_AT = 1_800_000_300.0  # when the earlier version wrote its last file, seconds since 1970
# The events that only the spool holds.
SPOOLED = "emitted cluster/7 job_failed"


def notifications(path: Path) -> dict[str, dict[str, Any]]:
    """The notifications in an outbox, by id."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["id"]: dict(row) for row in connection.execute("SELECT * FROM notifications")}


def restore(box: Box, version: int) -> None:
    """Copy a stored home and its tree into `box`, as an ordinary installation has them."""
    for name in ("SyftBox", "syft-bg"):
        shutil.copytree(HOMES / name, box.folder / name, dirs_exist_ok=True)
    shutil.copytree(HOMES / f"schema-{version}", box.home.root, dirs_exist_ok=True)
    for path in (box.home.config, box.home.state):
        path.write_text(path.read_text(encoding="utf-8").replace("@FOLDER@", str(box.folder)), encoding="utf-8")
    with contextlib.closing(sqlite3.connect(box.home.outbox)) as connection:
        connection.executescript((box.home.root / "outbox.sql").read_text(encoding="utf-8"))
    for path in (box.home.root, *box.home.root.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in (box.root, *box.root.rglob("*"), *(box.folder / "syft-bg").rglob("*")):
        os.utime(path, (STOPPED_AT, STOPPED_AT))
    box.clock.now = STOPPED_AT + 60.0
    box.last_scan = STOPPED_AT


@pytest.mark.parametrize("version", [4, 5])
def test_existing_home_delivers_each_notification_once(box: Box, version: int) -> None:
    """Issue 14: state.json, the outbox and the old spellings of the configuration are taken over."""
    restore(box, version)
    before = notifications(box.home.outbox)

    for _ in range(3):
        box.scan()
        box.clock.advance(3600.0)

    after = notifications(box.home.outbox)
    sent = Counter(
        mail.id for folder in (box.home.mail, box.home.root / "office" / "mail") for mail in mails_in(folder)
    )
    mailed = {each: row for each, row in before.items() if row["medium"] == "mail"}
    assert {row["state"] for row in before.values()} == {"sent", "pending", "sending"}
    assert {each: sent[each] for each in mailed} == {
        each: 0 if row["state"] == "sent" else 1 for each, row in mailed.items()
    }
    new = {each: row for each, row in after.items() if each not in before}
    assert {row["event_key"].rpartition(" ")[0] for row in new.values()} == {SPOOLED}
    assert {each: after[each]["state"] for each in mailed} == dict.fromkeys(mailed, "sent")


def test_existing_configuration_keeps_its_meaning(box: Box) -> None:
    """Issue 14: `routes+`, `via`, `operator`, `digest.above/within/every` and `quiet_hours.zone` are accepted."""
    restore(box, 5)

    config = load(box.home).config
    assert config.operators == ("operator@site.example",)
    assert [route.transport for route in config.extra_routes] == ["office", "office"]
    assert config.digest is not None
    assert (config.digest.threshold, config.digest.window, config.digest.interval) == (30, 600.0, 600.0)
    assert config.quiet_hours is not None
    assert str(config.quiet_hours.timezone) == "Europe/Paris"


def test_existing_alert_rules_keep_their_targets(box: Box) -> None:
    """Issue 14: an encrypted URL is decrypted with the key of the home."""
    restore(box, 5)

    with contextlib.closing(SqliteOutbox(box.home.outbox)) as outbox:
        rules = outbox.alert_rules.all()
    assert [rule.target for rule in rules] == ["watch@site.example", "https://127.0.0.1:1/secret-path"]
