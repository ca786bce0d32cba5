"""Copies of the database: the backup before an upgrade, and a snapshot of a database in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from syftnotify.core.errors import StateError
from syftnotify.store.outbox.alert_targets import AlertTargets
from syftnotify.system.files import fsync_folder
from syftnotify.system.paths import Home


def back_up(database: Path, version: int) -> Path:
    """Copy `database` and its write-ahead log to `<name>.v<version>.bak`; returns that path.

    URLs of alert rules in the copy are encrypted. Only the newest copy is kept.

    Raises:
        StateError: it cannot be written.
    """
    path = database.with_name(f"{database.name}.v{version}.bak")
    part = path.with_name(f".{path.name}")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(database, timeout=30)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            has_alerts = copy.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alerts'").fetchone()[0]
        if has_alerts:
            AlertTargets(Home(database.parent)).encrypt_stored(part)
        part.replace(path)
        for other in database.parent.glob(f"{database.name}.v*.bak"):
            if other != path:
                other.unlink()
        fsync_folder(database.parent)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise StateError(
            f"{database} cannot be copied to {path.name} before its format is changed: {error}",
            hint="check the owner, permissions and free space of its folder",
        ) from error
    return path


def copy_snapshot(database: Path, to: Path) -> None:
    """Copy `database` as of one moment, also while a worker writes to it; nothing in its folder changes.

    A damaged database is copied as it is.

    Raises:
        OSError: it cannot be read, or `to` cannot be written.
    """
    log = database.with_name(f"{database.name}-wal")
    if log.exists():  # otherwise the file itself is complete
        try:
            uri = f"{database.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=30)) as source, closing(sqlite3.connect(to)) as copy:
                source.backup(copy)
            return
        except sqlite3.Error:  # damaged, or its log cannot be read without write access
            shutil.copyfile(log, to.with_name(f"{to.name}-wal"))
    shutil.copyfile(database, to)
