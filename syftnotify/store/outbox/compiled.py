"""Statements that are executed for each message or for many rows.

SQLAlchemy prepares parameters and results of each execution in Python, which takes longer than SQLite needs for these
statements. Here a statement is compiled once for each dialect, and its parameters go to the driver within SQLAlchemy's
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa


class CompiledStatement:
    """A statement whose parameters and columns are text and numbers, which need no conversion.

    An insert of rows gets its columns from the first row.
    """

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, Sequence[str] | None, dict[str, Any]]] = {}  # by dialect

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> sa.CursorResult[Any]:
        """Execute the statement with each of `rows`, at least one; all have the same keys."""
        dialect = connection.dialect.name
        if dialect not in self._compiled:
            self._compiled[dialect] = self._compile(connection.dialect, list(rows[0]))
        sql, order, constants = self._compiled[dialect]
        values = [{**constants, **row} for row in rows] if constants else rows
        if order is None:
            return connection.exec_driver_sql(sql, [dict(each) for each in values])
        return connection.exec_driver_sql(sql, [tuple(map(each.__getitem__, order)) for each in values])

    def scalar(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any:
        """The first column of the first row of a query; None if there is no row."""
        return self.execute(connection, [values]).scalar()

    def _compile(self, dialect: sa.Dialect, columns: list[str]) -> tuple[str, Sequence[str] | None, dict[str, Any]]:
        """SQL, the order of its parameters if they are positional, and the values of those that are constants."""
        is_insert = isinstance(self._statement, sa.Insert)
        compiled = self._statement.compile(dialect=dialect, column_keys=columns if is_insert else None)
        constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        return compiled.string, compiled.positiontup if compiled.positional else None, constants
