"""Inserts of many rows at once.

SQLAlchemy prepares the parameters of each row in Python, which takes longer than SQLite needs for the insert. Here the
statement is compiled once for each dialect, and the rows go to the driver within SQLAlchemy's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa


class BulkInsert:
    """An insert of complete rows of one table."""

    def __init__(self, statement: sa.Insert) -> None:
        self._statement = statement
        # By dialect: the SQL, and the order of the columns in it if its parameters are positional.
        self._compiled: dict[str, tuple[str, Sequence[str] | None]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`, at least one; all have the same keys, which are columns of the table."""
        if connection.dialect.name not in self._compiled:
            compiled = self._statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
            order: Sequence[str] | None = compiled.positiontup if compiled.positional else None
            self._compiled[connection.dialect.name] = (compiled.string, order)
        sql, columns = self._compiled[connection.dialect.name]
        values: Any = rows if columns is None else [tuple(map(row.__getitem__, columns)) for row in rows]
        connection.exec_driver_sql(sql, values)
