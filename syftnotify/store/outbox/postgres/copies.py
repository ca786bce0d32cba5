"""The progress of copies of files into the database, which processes of the same home wait for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.core.text import escape, plural
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.lease import WORKERS
from syftnotify.store.outbox.postgres.schema import NOW, TABLES_SCHEMA

# Held until the end of a transaction in which a process joins, or alone by one in which a copy begins.
_KEY = "hashtextextended('syftnotify copy ' || %(scope)s, 0)"
_WAIT_FOR_BEGINNING = f"SELECT pg_advisory_xact_lock_shared({_KEY})"
_WAIT_FOR_PROCESSES = f"SELECT pg_advisory_xact_lock({_KEY})"
_COPIES = f"{TABLES_SCHEMA}.copies"
# In place of the name of a table.
_BEGUN, _VERIFIED = "begun", "verified"
_IS_INCOMPLETE = f"""
SELECT EXISTS (SELECT 1 FROM {_COPIES} b WHERE b.scope = %(scope)s AND b.table_name = '{_BEGUN}' AND NOT EXISTS (
    SELECT 1 FROM {_COPIES} v WHERE v.scope = b.scope AND v.source = b.source AND v.table_name = '{_VERIFIED}'))
"""
_POSITION = f"""
SELECT position, copied FROM {_COPIES} WHERE scope = %(scope)s AND source = %(source)s AND table_name = %(table)s
"""
_SET_POSITION = f"""
INSERT INTO {_COPIES} (scope, source, table_name, position, copied)
VALUES (%(scope)s, %(source)s, %(table)s, %(position)s, %(copied)s)
ON CONFLICT (scope, source, table_name) DO UPDATE SET position = excluded.position, copied = excluded.copied
"""
_FORGET_POSITIONS = (
    f"DELETE FROM {_COPIES} WHERE scope = %(scope)s AND source = %(source)s AND table_name <> '{_BEGUN}'"
)
_COUNT_EVENTS = f"SELECT count(*) FROM {TABLES_SCHEMA}.events WHERE scope = %(scope)s"
_PROCESSES = f"SELECT pid, host FROM {WORKERS} WHERE scope = %(scope)s AND ended_at IS NULL AND lease_until > {NOW}"


def require_complete(connection: sa.Connection, database: PostgresDatabase) -> None:
    """Make sure that no copy into this home is incomplete; none begins before the end of the transaction.

    What a process of the home stores beside a copy would make it differ from the file.

    Raises:
        StateError: one is.
    """
    values = {"scope": database.scope}
    connection.exec_driver_sql(_WAIT_FOR_BEGINNING, values)
    if connection.exec_driver_sql(_IS_INCOMPLETE, values).scalar_one():
        raise StateError(
            f"the copy of an outbox.db of {database.scope} into {database.name} is not complete",
            hint="run `notify db copy` again in the home where it was started, or use another, empty database; until "
            "then no worker or server of this data owner can start",
        )


class CopyProgress:
    """How far the file with the id `source` is copied."""

    def __init__(self, database: PostgresDatabase, source: str) -> None:
        self._database = database
        self._source = source

    def begin(self) -> None:
        """Begin or continue the copy; until it is complete, no process of the home joins.

        Raises:
            StateError: the database has events of this home that are not from this file, or a process of it uses it.
        """
        with self._database.writing() as connection:
            connection.exec_driver_sql(_WAIT_FOR_PROCESSES, self._values(_BEGUN))
            if not any(self._read(connection, each) for each in (_BEGUN, _VERIFIED)):
                self._require_no_other_history(connection)
            self._require_no_process(connection)
            self.record(connection, _BEGUN)

    def _require_no_other_history(self, connection: sa.Connection) -> None:
        count = connection.exec_driver_sql(_COUNT_EVENTS, self._values(_BEGUN)).scalar_one()
        if count:
            raise StateError(
                f"{self._database.name} already has {plural(count, 'event')} of {self._database.scope}",
                hint="copy only one outbox.db of a data owner, before the first `notify start` with `database`; or use "
                "another, empty database",
            )

    def _require_no_process(self, connection: sa.Connection) -> None:
        found = connection.exec_driver_sql(_PROCESSES, self._values(_BEGUN)).first()
        if found is not None:
            raise StateError(
                f"a process of this home uses the database: pid {found.pid} on {escape(found.host)}",
                hint="stop all workers and servers of this home, on all machines",
            )

    def position(self, table: str) -> tuple[int, int]:
        """The last `rowid` that was copied, -1 before the first, and the number of copied rows. Raises: StateError."""
        with self._database.reading() as connection:
            return self._read(connection, table) or (-1, 0)

    def record(self, connection: sa.Connection, table: str, position: int = 0, copied: int = 0) -> None:
        """Record what `position` returns, in the transaction of the rows."""
        connection.exec_driver_sql(_SET_POSITION, self._values(table) | {"position": position, "copied": copied})

    def complete(self, connection: sa.Connection) -> None:
        """Record, in the last transaction of the copy, that it is complete."""
        self.record(connection, _VERIFIED)

    def is_complete(self) -> bool:
        """Whether the file was copied and compared. Raises: StateError."""
        with self._database.reading() as connection:
            return self._read(connection, _VERIFIED) is not None

    def start_over(self) -> None:
        """The next copy starts with the first rows. Raises: StateError."""
        with self._database.writing() as connection:
            connection.exec_driver_sql(_FORGET_POSITIONS, self._values(_BEGUN))

    def _values(self, table: str) -> dict[str, Any]:
        return {"scope": self._database.scope, "source": self._source, "table": table}

    def _read(self, connection: sa.Connection, table: str) -> tuple[int, int] | None:
        row = connection.exec_driver_sql(_POSITION, self._values(table)).first()
        return None if row is None else (int(row.position), int(row.copied))
