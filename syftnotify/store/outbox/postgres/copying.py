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
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.core.text import escape, plural
from syftnotify.store.outbox.inserts import SCOPE
from syftnotify.store.outbox.postgres.copies import CopyProgress
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import TABLES_SCHEMA
from syftnotify.store.outbox.schema import COPIED_TO, COPY_ID, NOTIFICATIONS, SCHEMA, WAITING

log = logging.getLogger(__name__)

_BATCH = 900  # rows in one transaction; SQLite allows 999 variables in one statement in old builds
# The column by which rows are compared; for the other tables it is the first one of their key.
_GROUPS = {"events": "key", "notifications": "id", "attempts": "notification", "submissions": "entity", "inbox": "id"}
# Columns that only PostgreSQL has. Transaction 0 is before all others: no live stream sends these rows as new ones.
_ADDED = {"inbox": {"xid": "'0'"}, "totals": {"shard": "-1"}}  # as they are written in a statement
# What a worker or server of the same home may have stored in the database before. It is kept.
_MERGED = ("server_keys", "recipients", "samples")

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
    """The copy of one file."""

    def __init__(self, file: Path, database: PostgresDatabase) -> None:
        self._file = file
        self._database = database
        self._damaged: dict[str, int] = {}

    def begin(self) -> None:
        """Make sure that no process of the home uses the database before the copy is complete.

        Raises:
            StateError: one does, or there are events of the home that are not from this file; or one of the databases
                cannot be used.
        """
        self._progress().begin()

    def run(self, on_progress: Callable[[str, int, int], None]) -> list[CopiedTable]:
        """Copy what is not copied yet, and compare all of it; empty if that was done before.

        `on_progress` is called with the name of a table, the number of its rows that are copied, and of all.

        Raises:
            StateError: one of the databases cannot be used, and the next run continues; or the comparison found a
                difference, and the next run copies everything again.
        """
        progress = self._progress()
        if progress.is_complete():
            return []
        self.begin()
        try:
            with self._reading_file() as connection:
                for table in SCHEMA.sorted_tables:
                    self._copy(connection, progress, table, on_progress)
                found: dict[str, CopiedTable] = {}
                for table in SCHEMA.sorted_tables:
                    if table is not NOTIFICATIONS:
                        with self._database.reading() as to:
                            found[table.name] = self._compare(connection, to, table)
                with self._database.writing() as to:
                    self._copy_waiting(connection, to, on_progress)
                    found[NOTIFICATIONS.name] = self._compare(connection, to, NOTIFICATIONS)
                    progress.complete(to)
        except _DifferenceError:  # the file was changed after a part of it was copied
            self._delete_copied()
            progress.start_over()
            raise
        return [found[table.name] for table in SCHEMA.sorted_tables]

    def is_verified(self) -> bool:
        """Whether the file was copied and compared before. Raises: StateError."""
        return self._progress().is_complete()

    def _progress(self) -> CopyProgress:
        return CopyProgress(self._database, _file_id(self._file))

    @contextlib.contextmanager
    def _reading_file(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(_open(self._file)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StateError(f"{self._file} cannot be read: {error}", hint="run `notify doctor`") from error

    def _delete_copied(self) -> None:
        """Delete the rows that have keys of the file; others of the home, such as silences, are kept."""
        with self._reading_file() as connection:
            for table in reversed(SCHEMA.sorted_tables):
                if table.name in _MERGED:
                    continue
                delete = f"DELETE FROM {TABLES_SCHEMA}.{table.name} WHERE {_has_keys(table)}"
                for keys in _keys(connection, table):
                    with self._database.writing() as to:
                        to.exec_driver_sql(delete, self._key_values(table, keys))

    def _key_values(self, table: sa.Table, keys: Sequence[Any]) -> dict[str, Any]:
        """The parameters of `_has_keys`."""
        column = table.columns[_group(table)]
        converted = [key for key in (_try_convert(column, key) for key in keys) if key is not None]
        return {"scope": self._database.scope, "keys": converted}

    def _copy(
        self,
        connection: sqlite3.Connection,
        progress: CopyProgress,
        table: sa.Table,
        on_progress: Callable[[str, int, int], None],
    ) -> None:
        position, copied = progress.position(table.name)
        total = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        names = _names(table)
        now = f" AND NOT {WAITING}" if table is NOTIFICATIONS else ""
        query = f"SELECT rowid, {', '.join(names)} FROM {table.name} WHERE rowid > ?{now} ORDER BY rowid LIMIT {_BATCH}"
        while rows := connection.execute(query, (position,)).fetchall():
            position = rows[-1][0]
            with self._database.writing() as to:
                copied += self._insert(to, table, [row[1:] for row in rows])
                progress.record(to, table.name, position, copied)
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
        columns = ", ".join(names)
        theirs = f"SELECT {columns} FROM {TABLES_SCHEMA}.{table.name} WHERE {_has_keys(table)}"
        self._damaged.pop(table.name, None)
        counts, sums = [0, 0], [0, 0]
        for keys in _keys(connection, table):
            marks = ", ".join("?" * len(keys))
            found = connection.execute(f"SELECT {columns} FROM {table.name} WHERE {_group(table)} IN ({marks})", keys)
            own = [each for row in found if (each := self._row(table, row, names)) is not None]
            other = [tuple(row) for row in to.exec_driver_sql(theirs, self._key_values(table, keys))]
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


def _group(table: sa.Table) -> str:
    """The column by which rows are compared."""
    return _GROUPS.get(table.name) or next(iter(table.primary_key)).name


def _keys(connection: sqlite3.Connection, table: sa.Table) -> Iterator[list[Any]]:
    """The values of that column in the file, in parts."""
    group = _group(table)
    found = (row[0] for row in connection.execute(f"SELECT DISTINCT {group} FROM {table.name} ORDER BY {group}"))
    while keys := list(islice(found, _BATCH)):
        yield keys


def _has_keys(table: sa.Table) -> str:
    """The condition of the rows in PostgreSQL that have some of these values, and are from a file."""
    from_file = " AND shard = -1" if table.name == "totals" else ""
    return f"{SCOPE} = %(scope)s AND {_group(table)} = ANY(%(keys)s){from_file}"


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
