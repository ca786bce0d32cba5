"""The SQLite file: opening, damage, replacement, permissions."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from syftnotify.core.outbox import OutboxCounts
from syftnotify.store.outbox.schema import SCHEMA_VERSION
from syftnotify.store.outbox.store import SqliteOutbox
from tests.outbox_helpers import enqueue, enqueue_dead, submitted
from tests.support import tally

NOT_A_DATABASE = b"not a database at all" * 100


def test_database_is_private_and_has_a_write_ahead_log(tmp_path: Path, outbox: SqliteOutbox) -> None:
    enqueue(outbox, submitted())

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("outbox.db*")}
    assert modes == dict.fromkeys(["outbox.db", "outbox.db-wal", "outbox.db-shm"], 0o600)
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StateError, match="newer version"):
        SqliteOutbox(path)


def test_database_that_is_a_folder_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").mkdir()

    with pytest.raises(StateError, match="cannot be opened"):
        SqliteOutbox(tmp_path / "outbox.db")


def test_damaged_database_is_quarantined_and_a_new_one_created(tmp_path: Path) -> None:
    """X02"""
    (tmp_path / "outbox.db").write_bytes(NOT_A_DATABASE)
    with contextlib.closing(SqliteOutbox(tmp_path / "outbox.db")) as outbox:
        assert outbox.history.counts() == OutboxCounts()
        assert "damaged" in outbox.corruption
    assert [path.read_bytes() for path in tmp_path.glob("outbox.db.damaged-*")] == [NOT_A_DATABASE]


def test_damaged_database_without_repair_is_left_in_place(tmp_path: Path) -> None:
    """X02: `notify dead-letters` and the like may run beside a worker."""
    path = tmp_path / "outbox.db"
    path.write_bytes(NOT_A_DATABASE)

    with pytest.raises(StateError, match="damaged") as caught:
        SqliteOutbox(path, repair=False)
    assert caught.value.hint
    assert path.read_bytes() == NOT_A_DATABASE
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_intact_database_without_repair_is_usable(tmp_path: Path, outbox: SqliteOutbox) -> None:
    notification_id = enqueue_dead(outbox, submitted())
    with contextlib.closing(SqliteOutbox(tmp_path / "outbox.db", repair=False)) as other:
        assert other.dead_letters.requeue([notification_id]) == 1
        assert other.check() == ""
    assert outbox.history.counts() == tally(waiting=1)


def remove(path: Path) -> None:
    for each in path.parent.glob("outbox.db*"):
        each.unlink()


def replace_by_another(path: Path) -> None:
    remove(path)
    SqliteOutbox(path).close()


def test_check_and_dry_run_do_not_wait_for_a_writer(tmp_path: Path, outbox: SqliteOutbox) -> None:
    enqueue(outbox, submitted())

    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert outbox.check() == ""
        assert outbox.history.prune(1e12, 1e12, exempt=(), dry_run=True) == 0


@pytest.mark.parametrize("change", [remove, replace_by_another])
def test_database_that_was_replaced_in_use_is_reopened(
    tmp_path: Path, outbox: SqliteOutbox, change: Callable[[Path], None]
) -> None:
    assert not outbox.reopen_if_replaced()
    change(tmp_path / "outbox.db")
    assert outbox.reopen_if_replaced()
    enqueue(outbox, submitted())

    assert outbox.history.counts() == tally(waiting=1)


def test_database_that_is_damaged_in_use_is_quarantined(tmp_path: Path) -> None:
    """X02: a running worker needs no restart."""
    path = tmp_path / "outbox.db"
    with contextlib.closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, *(submitted(str(number)) for number in range(500)))
    with contextlib.closing(outbox):
        content = bytearray(path.read_bytes())
        content[4096:] = b"\x5a" * (len(content) - 4096)
        path.write_bytes(content)

        with pytest.raises(StateError, match="malformed"):
            outbox.history.counts()
        assert outbox.reopen_if_replaced()
        assert outbox.history.counts() == OutboxCounts()
        assert "damaged" in outbox.corruption
        assert len(list(tmp_path.glob("outbox.db.damaged-*"))) == 1
        assert not outbox.reopen_if_replaced()


def test_connection_in_use_while_the_database_closes_is_closed_after_its_transaction(
    tmp_path: Path, outbox: SqliteOutbox
) -> None:
    """The pool would keep it open: a file descriptor for each time the database was replaced."""
    entered, closed = threading.Event(), threading.Event()

    def work() -> None:
        with outbox.queue.batch():
            entered.set()
            closed.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(60)
    outbox.close()
    log = tmp_path / "outbox.db-wal"
    assert log.exists()
    closed.set()
    thread.join(60)

    assert not log.exists(), "SQLite removes it when the last connection is closed"
