"""Databases of earlier versions are copied, then upgraded with all that is in them."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import StateError
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.models import AlertRule
from syftnotify.store.outbox.schema import SCHEMA_VERSION
from syftnotify.store.outbox.store import SqliteOutbox
from tests.outbox_helpers import enqueue, enqueue_dead, notification, submitted
from tests.support import ANA, BO, DATA, tally

VERSION_4 = DATA / "outbox-v4.sql"  # written by version 4 of the format


def create_version_4(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_4.read_text(encoding="utf-8"))


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def indexes(path: Path) -> set[str]:
    return {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'index'")}


def downgrade_to_version_1(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for name in ("recent", "queue", "unfinished"):
            connection.execute(f"DROP INDEX {name}")
        for table in ("alerts", "emitted_jobs", "totals", "submissions"):
            connection.execute(f"DROP TABLE {table}")
        columns = ("route", "source", "priority", "longest_wait", "acknowledged_at", "reported_at", "message_domain")
        for column in columns:
            connection.execute(f"ALTER TABLE notifications DROP COLUMN {column}")
        connection.execute("ALTER TABLE events DROP COLUMN routing")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()


def downgrade_to_version_4(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        DROP INDEX queue; DROP INDEX unfinished;
        DROP TABLE recipients; DROP TABLE emitted_jobs; DROP TABLE totals; DROP TABLE submissions;
        ALTER TABLE events DROP COLUMN routing;
        ALTER TABLE notifications DROP COLUMN source;
        ALTER TABLE notifications DROP COLUMN priority;
        ALTER TABLE notifications DROP COLUMN longest_wait;
        ALTER TABLE notifications DROP COLUMN acknowledged_at;
        ALTER TABLE notifications DROP COLUMN reported_at;
        ALTER TABLE notifications DROP COLUMN message_domain;
        PRAGMA user_version = 4;
        """
    )
    connection.close()


def test_upgrade_of_version_1_keeps_everything(tmp_path: Path) -> None:
    """X01: an update of the program loses nothing that is to be sent."""
    path = tmp_path / "outbox.db"
    with contextlib.closing(SqliteOutbox(path)) as old:
        expected = indexes(path)
        dead = enqueue_dead(old, submitted("a"))
        enqueue(old, submitted("b"))
    downgrade_to_version_1(path)

    for _ in range(2):  # the second time there is nothing to upgrade
        with contextlib.closing(SqliteOutbox(path)) as new:
            assert new.history.counts() == tally(waiting=1, dead=1)
            assert [record.id for record in new.dead_letters.all()] == [dead]
            assert new.alert_rules.all() == []
            assert new.corruption == ""
        assert indexes(path) == expected
    assert query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


@pytest.mark.parametrize("repair", [True, False], ids=["worker", "command"])
def test_upgrade_of_version_4_makes_one_private_copy_first(tmp_path: Path, repair: bool) -> None:
    """C13"""
    path = tmp_path / "outbox.db"
    create_version_4(path)
    older = tmp_path / "outbox.db.v3.bak"
    older.touch()

    with contextlib.closing(SqliteOutbox(path, repair=repair)) as outbox:
        assert outbox.history.counts() == tally(waiting=1, sent=1, dead=1)
        targets = [rule.target for rule in outbox.alert_rules.all()]
    assert targets == ["https://hooks.example/secret-path", "bo@lab.example"]

    copy = tmp_path / "outbox.db.v4.bak"
    assert query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query(copy, "PRAGMA user_version") == [(4,)]
    assert query(copy, "SELECT state FROM notifications ORDER BY seq") == [("sent",), ("dead",), ("pending",)]
    assert query(copy, "PRAGMA integrity_check") == [("ok",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not older.exists()
    assert b"secret-path" not in copy.read_bytes()


def test_upgrade_copies_what_is_only_in_the_write_ahead_log(tmp_path: Path) -> None:
    """C13: of a worker that was killed."""
    path = tmp_path / "outbox.db"
    create_version_4(path)
    with contextlib.closing(sqlite3.connect(path)) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("UPDATE notifications SET reason = 'only in the log' WHERE seq = 3")
        killed.commit()
        assert b"only in the log" not in path.read_bytes()

        SqliteOutbox(path).close()

    copy = tmp_path / "outbox.db.v4.bak"
    assert query(copy, "SELECT reason FROM notifications WHERE seq = 3") == [("only in the log",)]


def test_upgrade_is_refused_if_the_copy_cannot_be_written(tmp_path: Path) -> None:
    """C13"""
    path = tmp_path / "outbox.db"
    create_version_4(path)
    (tmp_path / "outbox.db.v4.bak").mkdir()

    with pytest.raises(StateError, match=r"cannot be copied to outbox\.db\.v4\.bak"):
        SqliteOutbox(path)

    assert query(path, "PRAGMA user_version") == [(4,)]
    assert not list(tmp_path.glob(".outbox*"))


def test_database_of_this_version_is_not_copied(tmp_path: Path) -> None:
    """C13"""
    SqliteOutbox(tmp_path / "outbox.db").close()
    SqliteOutbox(tmp_path / "outbox.db").close()

    assert not list(tmp_path.glob("*.bak"))


@pytest.mark.parametrize("adds", [True, False], ids=["alerts add", "worker"])
def test_upgrade_encrypts_urls_and_leaves_no_plain_text(tmp_path: Path, adds: bool) -> None:
    """C12: not even of a rule that was deleted before; the rule's transport keeps its name."""
    path = tmp_path / "outbox.db"
    create_version_4(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("INSERT INTO alerts SELECT 'gone', job, tag, target, 1, 1, 1, 1, 1, 1 FROM alerts LIMIT 1")
        connection.commit()
        connection.execute("DELETE FROM alerts WHERE id = 'gone'")
        connection.commit()

    with contextlib.closing(SqliteOutbox(path, repair=not adds)) as outbox:
        if adds:
            outbox.alert_rules.add(AlertRule(id="x", target="bo@lab.example", job="x", created_at=2e9))
        rule = outbox.alert_rules.all()[0]

    assert rule == AlertRule(
        id="0123456789ab", target="https://hooks.example/secret-path", job="nightly-*", created_at=1768500000.0
    )
    assert rule.endpoint == "alert-" + stable_hash("https://hooks.example/secret-path")[:8]
    assert not [each for each in tmp_path.iterdir() if b"secret-path" in each.read_bytes()]


def test_upgrade_keeps_the_addresses_of_the_history(tmp_path: Path) -> None:
    """C1: an address that was mailed before is not new."""
    path = tmp_path / "outbox.db"
    with contextlib.closing(SqliteOutbox(path)) as old:
        enqueue(old, submitted("a"), to=ANA)
        enqueue(old, submitted("b"), to=BO, skipped="no reason")
    downgrade_to_version_4(path)

    with contextlib.closing(SqliteOutbox(path)) as new:
        assert new.recipients.unmailed([ANA, BO]) == {BO}
        event = submitted("c")
        new.enqueue([event], [replace(notification(event, BO), withheld="unverified")], 20.0)
        assert new.recipients.release([BO], 30.0) == 1
