"""Copies of a database in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syftnotify.store.outbox.backup import copy_snapshot


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "a b#1" / "outbox.db"


def contents(folder: Path) -> dict[str, bytes]:
    """The files without `-shm`, which readers may change: it indexes the log and contains no data."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def test_snapshot_contains_only_committed_changes(database: Path, tmp_path: Path) -> None:
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE numbers (n)")
        writer.execute("INSERT INTO numbers VALUES (1)")
        writer.commit()
        writer.execute("INSERT INTO numbers VALUES (2)")
        before = contents(database.parent)

        copy_snapshot(database, tmp_path / "copy.db")

        assert contents(database.parent) == before
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT n FROM numbers").fetchall() == [(1,)]


def test_damaged_database_is_copied_with_its_log(database: Path, tmp_path: Path) -> None:
    database.parent.mkdir()
    database.write_bytes(b"not a database" * 300)
    database.with_name("outbox.db-wal").write_bytes(b"log")

    copy_snapshot(database, tmp_path / "copy.db")

    assert (tmp_path / "copy.db").read_bytes() == database.read_bytes()
    assert (tmp_path / "copy.db-wal").read_bytes() == b"log"
