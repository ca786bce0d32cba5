"""Statements that are executed for each message or for many rows.

SQLAlchemy prepares parameters and results of each execution in Python, which takes longer than SQLite needs for these
statements. Here a statement is compiled once for each dialect and executed by a cursor of the driver, within
SQLAlchemy's transaction.
"""

from __future__ import annotations

import contextlib
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

_Statement = sa.Select[Any] | sa.Insert | sa.Update


class CompiledStatement:
    """A statement whose parameters and columns are text and numbers, which need no conversion.

    An insert of rows gets its columns from the first row. Errors are those of the driver.
    """

    def __init__(self, statement: _Statement) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}  # by dialect
        names = statement.selected_columns.keys() if isinstance(statement, sa.Select) else ()
        make_row = namedtuple("Row", names)._make  # type: ignore[attr-defined] # the names are known at run time
        self._make_row: Callable[[Any], Any] = make_row

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute the statement with each of `rows`, at least one; all have the same keys."""
        compiled = self._for(connection, rows[0])
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.executemany(compiled.sql, [compiled.values(row) for row in rows])

    def first(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any | None:
        """The first row of a query, a named tuple; None if there is no row."""
        compiled = self._for(connection, values)
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(compiled.sql, compiled.values(values))
            found = cursor.fetchone()
        return None if found is None else self._make_row(found)

    def _for(self, connection: sa.Connection, row: Mapping[str, Any]) -> _Compiled:
        name = connection.dialect.name
        if name not in self._compiled:
            self._compiled[name] = _Compiled(self._statement, connection.dialect, list(row))
        return self._compiled[name]


class _Compiled:
    """A statement for one dialect."""

    def __init__(self, statement: _Statement, dialect: sa.Dialect, names: list[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names if isinstance(statement, sa.Insert) else None)
        self.sql = compiled.string
        self._order = compiled.positiontup if compiled.positional else None
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def values(self, row: Mapping[str, Any]) -> Any:
        """The parameters for the driver."""
        values = {**self._constants, **row} if self._constants else row
        return dict(values) if self._order is None else tuple(map(values.__getitem__, self._order))
