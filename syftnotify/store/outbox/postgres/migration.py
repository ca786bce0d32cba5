"""Creating and upgrading the tables of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from syftnotify.core.errors import NoTablesError, StateError
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import PROPERTIES, SCHEMA_VERSION, TABLES_SCHEMA, UPGRADES, creation, views
from syftnotify.store.outbox.postgres.timeline import record_timeline

# Held while tables are created or upgraded: several workers may start at the same moment.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('syftnotify schema', 0))"
_EXISTS = f"SELECT to_regclass('{TABLES_SCHEMA}.{PROPERTIES.name}') IS NOT NULL"
_PROPERTIES = f"SELECT name, value FROM {TABLES_SCHEMA}.{PROPERTIES.name}"
_SET = (
    f"INSERT INTO {TABLES_SCHEMA}.{PROPERTIES.name} (name, value) VALUES (%(name)s, %(value)s) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_VERSION, _USABLE_SINCE = "schema version", "usable since"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The tables of a database."""

    version: int  # 0: there are none
    usable_since: int  # the oldest version of the tables that a program must know to use them

    @property
    def is_current(self) -> bool:
        """Whether `migrate` has nothing to do."""
        return self.version >= SCHEMA_VERSION


def schema_status(database: PostgresDatabase) -> SchemaStatus:
    """The state of the tables. Raises: StateError."""
    with database.reading() as connection:
        return _status(connection)


def _status(connection: sa.Connection) -> SchemaStatus:
    if not connection.exec_driver_sql(_EXISTS).scalar_one():
        return SchemaStatus(0, 0)
    found = {row.name: row.value for row in connection.exec_driver_sql(_PROPERTIES)}
    return SchemaStatus(int(found[_VERSION]), int(found[_USABLE_SINCE]))


def prepare(database: PostgresDatabase, *, creates: bool = True) -> None:
    """Make sure that there are tables which this version can use; `creates` them if there are none.

    Raises:
        NoTablesError: there are none, and they are not created.
        StateError: they cannot be created, or this version of the program cannot use those that exist.
    """
    status = schema_status(database)
    if not status.version:
        if not creates:
            raise NoTablesError(f"there are no tables in {database.name}", hint="run `notify db migrate`")
        migrate(database)
    elif status.version < SCHEMA_VERSION:
        raise StateError(
            f"the tables in {database.name} have version {status.version}, this program needs {SCHEMA_VERSION}",
            hint="run `notify db migrate`; workers of the version before continue meanwhile",
        )
    elif status.usable_since > SCHEMA_VERSION:
        raise StateError(
            f"the tables in {database.name} were changed by a newer version "
            f"(they have version {status.version}, this program supports {SCHEMA_VERSION})",
            hint="install the newer version",
        )


def migrate(database: PostgresDatabase) -> int:
    """Create or upgrade the tables, all or nothing; returns the version before.

    Raises:
        StateError: it failed.
    """
    with database.writing() as connection:
        connection.exec_driver_sql(_LOCK)
        before = _status(connection).version
        if before >= SCHEMA_VERSION:  # another process has done it meanwhile
            return before
        if not before:
            for statement in creation():
                connection.execute(statement)
            record_timeline(connection)
        for version in range(max(before, 1), SCHEMA_VERSION):
            for text in UPGRADES[version]:
                connection.exec_driver_sql(text)
        for statement in views():
            connection.execute(statement)
        for name, value in ((_VERSION, SCHEMA_VERSION), (_USABLE_SINCE, max(1, SCHEMA_VERSION - 1))):
            connection.exec_driver_sql(_SET, {"name": name, "value": str(value)})
    return before
