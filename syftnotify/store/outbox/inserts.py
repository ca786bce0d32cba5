"""Inserts that meet rows with the same key, in SQLite's and PostgreSQL's dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from syftnotify.store.outbox.compiled import CompiledStatement, InsertNew

# Part of every unique key in PostgreSQL, where several homes share the tables.
SCOPE = "scope"


def insert_new(table: sa.Table) -> sa.Insert:
    """An insert that leaves out rows whose key exists."""
    return InsertNew(table).inline()  # it returns no generated numbers


class Upsert:
    """An insert that changes the row if its key exists."""

    def __init__(
        self,
        table: sa.Table,
        key: Sequence[str],
        changes: Callable[[sa.ColumnCollection[str, Any]], Mapping[str, Any]],
        *,
        postgres_key: Sequence[str] = (),
    ) -> None:
        """`changes` returns the new values of an existing row; its argument has the values that were not inserted.

        `postgres_key` are further columns of the key in PostgreSQL, which have defaults.
        """
        on_sqlite, on_postgres = sqlite.insert(table), postgresql.insert(table)
        self._statements = {
            "sqlite": CompiledStatement(
                on_sqlite.on_conflict_do_update(index_elements=list(key), set_=dict(changes(on_sqlite.excluded)))
            ),
            "postgresql": CompiledStatement(
                on_postgres.on_conflict_do_update(
                    index_elements=[SCOPE, *key, *postgres_key], set_=dict(changes(on_postgres.excluded))
                )
            ),
        }

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or change `rows`, at least one; all have the same keys."""
        self._statements[connection.dialect.name].execute(connection, rows)
