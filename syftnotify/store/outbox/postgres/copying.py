"""Copying the outbox of one home from its SQLite file into PostgreSQL, in parts that can be resumed.

Workers of other homes deliver whatever waits in the database. So the notifications that wait are copied last, in one
transaction, in which the notifications are also compared: nobody claims them before the copy is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.core.text import escape, plural
from syftnotify.store.outbox.inserts import SCOPE
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import TABLES_SCHEMA
from syftnotify.store.outbox.schema import COPIED_TO, COPY_ID, EVENTS, NOTIFICATIONS, SCHEMA, WAITING

log = logging.getLogger(__name__)

_BATCH = 900  # rows in one transaction; SQLite allows 999 variables in one statement in old builds
# The column by which rows are compared; for the other tables it is the first one of their key.
_GROUPS = {"events": "key", "notifications": "id", "attempts": "notification", "submissions": "entity", "inbox": "id"}
# Columns that only PostgreSQL has. Transaction 0 is before all others: no live stream sends these rows as new ones.
_ADDED = {"inbox": {"xid": "'0'"}, "totals": {"shard": "-1"}}  # as they are written in a statement
_COPIES = f"{TABLES_SCHEMA}.copies"
_POSITION = f"""
SELECT position, copied FROM {_COPIES} WHERE scope = %(scope)s AND source = %(source)s AND table_name = %(table)s
"""
_SET_POSITION = f"""
INSERT INTO {_COPIES} (scope, source, table_name, position, copied)
VALUES (%(scope)s, %(source)s, %(table)s, %(position)s, %(copied)s)
ON CONFLICT (scope, source, table_name) DO UPDATE SET position = excluded.position, copied = excluded.copied
"""
# What a worker or server of the same home may have stored in the database before. It is kept.
_MERGED = ("server_keys", "recipients", "samples", "totals")
_DELETE = f"""
DELETE FROM {TABLES_SCHEMA}.{{table}} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {TABLES_SCHEMA}.{{table}} WHERE scope = %(scope)s LIMIT 10000))
"""
_FORGET_POSITIONS = f"DELETE FROM {_COPIES} WHERE scope = %(scope)s AND source = %(source)s"
_COUNT_EVENTS = f"SELECT count(*) FROM {TABLES_SCHEMA}.events WHERE scope = %(scope)s"
_VERIFIED = "verified"  # in place of the name of a table, when the copy is complete

_Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """One table after its copy was compared with the file."""

    name: str
    rows: int
    checksum: str  # of the rows, whatever their order; the same in both databases
    damaged: int = 0  # rows of the file that cannot be copied


class _DifferenceError(StateError):
    """The copy differs from the file."""


class OutboxCopy:
    """The copy of one file. No worker or server of its home may run."""

    def __init__(self, file: Path, database: PostgresDatabase) -> None:
        self._file = file
        self._database = database
        self._damaged: dict[str, int] = {}

    def run(self, on_progress: Callable[[str, int, int], None]) -> list[CopiedTable]:
        """Copy what is not copied yet, and compare all of it; empty if that was done before.

        `on_progress` is called with the name of a table, the number of its rows that are copied, and of all.

        Raises:
            StateError: one of the databases cannot be used, and the next run continues; or the comparison found a
                difference, and the next run copies everything again.
        """
        source = _file_id(self._file)
        if self.is_verified():
            return []
        try:
            with closing(_open(self._file)) as connection:
                self._require_no_other_history(source)
                for table in SCHEMA.sorted_tables:
                    self._copy(connection, source, table, on_progress)
                found: dict[str, CopiedTable] = {}
                for table in SCHEMA.sorted_tables:
                    if table is not NOTIFICATIONS:
                        with self._database.reading() as to:
                            found[table.name] = self._compare(connection, to, table)
                with self._database.writing() as to:
                    self._copy_waiting(connection, to, on_progress)
                    found[NOTIFICATIONS.name] = self._compare(connection, to, NOTIFICATIONS)
                    to.exec_driver_sql(_SET_POSITION, self._key(source, _VERIFIED) | {"position": 0, "copied": 0})
        except sqlite3.Error as error:
            raise StateError(f"{self._file} cannot be read: {error}", hint="run `notify doctor`") from error
        except _DifferenceError:  # the file was changed after a part of it was copied
            self._forget(source)
            raise
        return [found[table.name] for table in SCHEMA.sorted_tables]

    def is_verified(self) -> bool:
        """Whether the file was copied and compared before. Raises: StateError."""
        return self._position(_file_id(self._file), _VERIFIED) is not None

    def _forget(self, source: str) -> None:
        """Delete what was copied, so that the next run copies the file as it is then. Raises: StateError."""
        for table in reversed(SCHEMA.sorted_tables):
            if table.name in _MERGED:
                continue
            values = {"scope": self._database.scope}
            deleted = 1
            while deleted:
                with self._database.writing() as connection:
                    deleted = connection.exec_driver_sql(_DELETE.format(table=table.name), values).rowcount
        with self._database.writing() as connection:
            connection.exec_driver_sql(_FORGET_POSITIONS, {"scope": self._database.scope, "source": source})

    def _require_no_other_history(self, source: str) -> None:
        """Raises: StateError, the database has events of this home that are not from this file."""
        if self._position(source, EVENTS.name) is not None:
            return
        with self._database.reading() as connection:
            count = connection.exec_driver_sql(_COUNT_EVENTS, {"scope": self._database.scope}).scalar_one()
        if count:
            raise StateError(
                f"{self._database.name} already has {plural(count, 'event')} of {self._database.scope}",
                hint="copy only one outbox.db of a data owner, before the first `notify start` with `database`; or use "
                "another, empty database",
            )

    def _key(self, source: str, table: str) -> dict[str, Any]:
        return {"scope": self._database.scope, "source": source, "table": table}

    def _position(self, source: str, table: str) -> tuple[int, int] | None:
        with self._database.reading() as connection:
            row = connection.exec_driver_sql(_POSITION, self._key(source, table)).first()
        return None if row is None else (int(row.position), int(row.copied))

    def _copy(
        self, connection: sqlite3.Connection, source: str, table: sa.Table, on_progress: Callable[[str, int, int], None]
    ) -> None:
        position, copied = self._position(source, table.name) or (-1, 0)
        total = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        names = _names(table)
        now = f" AND NOT {WAITING}" if table is NOTIFICATIONS else ""
        query = f"SELECT rowid, {', '.join(names)} FROM {table.name} WHERE rowid > ?{now} ORDER BY rowid LIMIT {_BATCH}"
        while rows := connection.execute(query, (position,)).fetchall():
            position = rows[-1][0]
            with self._database.writing() as to:
                copied += self._insert(to, table, [row[1:] for row in rows])
                to.exec_driver_sql(
                    _SET_POSITION, self._key(source, table.name) | {"position": position, "copied": copied}
                )
            on_progress(table.name, copied, total)

    def _copy_waiting(
        self, connection: sqlite3.Connection, to: sa.Connection, on_progress: Callable[[str, int, int], None]
    ) -> None:
        """Copy the notifications that wait."""
        total = connection.execute(f"SELECT count(*) FROM {NOTIFICATIONS.name}").fetchone()[0]
        copied = connection.execute(f"SELECT count(*) FROM {NOTIFICATIONS.name} WHERE NOT {WAITING}").fetchone()[0]
        names = ", ".join(_names(NOTIFICATIONS))
        rows = connection.execute(f"SELECT {names} FROM {NOTIFICATIONS.name} WHERE {WAITING} ORDER BY rowid")
        while some := rows.fetchmany(_BATCH):
            copied += self._insert(to, NOTIFICATIONS, some)
            on_progress(NOTIFICATIONS.name, copied, total)

    def _insert(self, to: sa.Connection, table: sa.Table, rows: Sequence[_Values]) -> int:
        """Insert rows of the file; returns how many are not damaged."""
        names = _names(table)
        values = [each for row in rows if (each := self._row(table, row)) is not None]
        if values:
            insert = _insert(table, names)
            with closing(to.connection.cursor()) as cursor:
                cursor.executemany(
                    insert, [{SCOPE: self._database.scope, **dict(zip(names, each, strict=True))} for each in values]
                )
        return len(values)

    def _row(self, table: sa.Table, values: Sequence[Any], names: Sequence[str] = ()) -> _Values | None:
        """The values as PostgreSQL stores them; None, with a log entry, if one has the wrong type.

        They are those of the columns `names`, or of all that are copied.
        """
        columns = [table.columns[name] for name in names or _names(table)]
        try:
            return tuple(_convert(column, value) for column, value in zip(columns, values, strict=True))
        except (ValueError, TypeError) as error:
            log.error("a row of %s is damaged and is not copied: %s", table.name, escape(str(error)))
            self._damaged[table.name] = self._damaged.get(table.name, 0) + 1
            return None

    def _compare(self, connection: sqlite3.Connection, to: sa.Connection, table: sa.Table) -> CopiedTable:
        """Compare all rows of the file with those in PostgreSQL that have the same keys. Raises: StateError.

        Of tables that are merged only the keys are compared.
        """
        names = [each.name for each in table.primary_key] if table.name in _MERGED else _names(table)
        group = _GROUPS.get(table.name) or next(iter(table.primary_key)).name
        groups = (row[0] for row in connection.execute(f"SELECT DISTINCT {group} FROM {table.name} ORDER BY {group}"))
        columns = ", ".join(names)
        theirs = (
            f"SELECT {columns} FROM {TABLES_SCHEMA}.{table.name} WHERE {SCOPE} = %(scope)s AND {group} = ANY(%(keys)s)"
        )
        if table.name == "totals":
            theirs += " AND shard = -1"
        self._damaged.pop(table.name, None)
        counts, sums = [0, 0], [0, 0]
        while keys := list(islice(groups, _BATCH)):
            marks = ", ".join("?" * len(keys))
            found = connection.execute(f"SELECT {columns} FROM {table.name} WHERE {group} IN ({marks})", keys)
            own = [each for row in found if (each := self._row(table, row, names)) is not None]
            converted = [key for key in (_try_convert(table.columns[group], key) for key in keys) if key is not None]
            values = {"scope": self._database.scope, "keys": converted}
            other = [tuple(row) for row in to.exec_driver_sql(theirs, values)]
            for number, rows in enumerate((own, other)):
                counts[number] += len(rows)
                sums[number] = (sums[number] + sum(map(_checksum, rows))) % (1 << 64)
        if counts[0] != counts[1] or sums[0] != sums[1]:
            raise _DifferenceError(
                f"the copy of {table.name} differs: {plural(counts[0], 'row')} with checksum {sums[0]:016x} in "
                f"{self._file.name}, {plural(counts[1], 'row')} with checksum {sums[1]:016x} in {self._database.name}",
                hint="stop all workers and servers of this home, then run `notify db copy` again; it starts from the "
                "beginning",
            )
        return CopiedTable(table.name, counts[0], f"{sums[0]:016x}", self._damaged.get(table.name, 0))


def mark_copied(file: Path, database: str) -> None:
    """Record in the file that it was copied into the database of that name. Raises: StateError."""
    try:
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO server_keys (name, value) VALUES (?, ?)", (COPIED_TO, database))
    except sqlite3.Error as error:
        raise StateError(f"{file} cannot be used: {error}", hint="run `notify doctor`") from error


def uncopied_events(file: Path, database: str) -> int:
    """The number of events in the file if it was not copied into the database of that name; 0: it was, or is missing.

    Raises:
        StateError: it cannot be read.
    """
    if not file.exists():
        return 0
    try:
        with closing(_open(file)) as connection:
            query = "SELECT count(*) FROM sqlite_master WHERE name IN ('events', 'server_keys')"
            has_keys = connection.execute(query).fetchone()[0] == 2  # older versions had none
            query = "SELECT 1 FROM server_keys WHERE name = ? AND value = ?"
            if has_keys and connection.execute(query, (COPIED_TO, database)).fetchone():
                return 0
            return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
    except sqlite3.Error as error:
        raise StateError(f"{file} cannot be read: {error}", hint="run `notify doctor`") from error


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    return connection


def _file_id(file: Path) -> str:
    """The id of the file, by which a second run recognizes it. Raises: StateError."""
    proposed = hashlib.sha256(f"{file.absolute()} {file.stat().st_ctime_ns}".encode()).hexdigest()[:32]
    try:
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            connection.execute("INSERT OR IGNORE INTO server_keys (name, value) VALUES (?, ?)", (COPY_ID, proposed))
            found = connection.execute("SELECT value FROM server_keys WHERE name = ?", (COPY_ID,)).fetchone()
            return str(found[0])
    except sqlite3.Error as error:
        raise StateError(f"{file} cannot be used: {error}", hint="run `notify doctor`") from error


def _names(table: sa.Table) -> list[str]:
    return [column.name for column in table.columns if column.name != "seq"]


def _insert(table: sa.Table, names: Sequence[str]) -> str:
    added = _ADDED.get(table.name, {})
    columns = [*added, SCOPE, *names]
    values = ", ".join([*added.values(), *(f"%({name})s" for name in (SCOPE, *names))])
    return f"INSERT INTO {TABLES_SCHEMA}.{table.name} ({', '.join(columns)}) VALUES ({values}) ON CONFLICT DO NOTHING"


def _convert(column: sa.Column[Any], value: Any) -> Any:
    """`value` of SQLite, which stores any type in any column, as the type of the column."""
    if value is None:
        if not column.nullable:
            raise ValueError(f"{column.name} is null")
        return None
    if isinstance(column.type, sa.Boolean):
        return bool(value)
    if isinstance(column.type, sa.Integer):
        return int(value)
    if isinstance(column.type, sa.Float):
        return float(value)
    if isinstance(column.type, sa.LargeBinary):
        return bytes(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _try_convert(column: sa.Column[Any], value: Any) -> Any:
    with contextlib.suppress(ValueError, TypeError):
        return _convert(column, value)
    return None


def _checksum(row: Sequence[Any]) -> int:
    values = [value.hex() if isinstance(value, bytes) else value for value in row]
    return int.from_bytes(hashlib.sha256(json.dumps(values).encode()).digest()[:8])
