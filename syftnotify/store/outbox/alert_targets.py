"""Targets of stored alert rules. The URL of a webhook is often its own password, so URLs are stored encrypted.

Email addresses and names of transports are stored as plain text.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from syftnotify.config.secrets import decrypt, encrypt
from syftnotify.core.errors import NotifyError
from syftnotify.system.paths import Home

log = logging.getLogger(__name__)

_PREFIX = "sealed:"  # of encrypted targets; stored


class AlertTargets:
    """Encrypts and decrypts with the key of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._decrypted: dict[str, str] = {}  # by stored text

    def encrypt(self, target: str) -> str:
        """`target` as it is stored. Raises: NotifyError, no key can be created."""
        return f"{_PREFIX}{encrypt(target, self._home)}" if "://" in target else target

    def decrypt(self, stored: str) -> str:
        """The target that was stored; empty if the key is lost."""
        if not stored.startswith(_PREFIX):
            return stored
        if stored not in self._decrypted:
            try:
                self._decrypted[stored] = decrypt(stored.removeprefix(_PREFIX), self._home)
            except ValueError:
                return ""
        return self._decrypted[stored]

    def encrypt_stored(self, database: Path) -> None:
        """Encrypt the URLs in `database` that an earlier version stored as plain text; no copy is left in the file."""
        try:
            with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("BEGIN IMMEDIATE")
                rows = connection.execute("SELECT id, target FROM alerts WHERE instr(target, '://')").fetchall()
                values = [(self.encrypt(target), name) for name, target in rows]
                connection.executemany("UPDATE alerts SET target = ? WHERE id = ?", values)
                connection.execute("COMMIT")
                if rows:
                    with contextlib.suppress(sqlite3.OperationalError):  # in use, or the disk is full
                        connection.execute("VACUUM")
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, NotifyError) as error:
            log.warning(
                "the URLs of alert rules in %s are not encrypted (%s); tried again at the next start",
                database.name,
                error,
            )
