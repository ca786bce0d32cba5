"""Statements that are executed for each message, for many rows, or at each start and scan.

SQLAlchemy prepares parameters and results of each execution in Python, which takes longer than SQLite needs for these
statements, and compiles them for each engine. Here a statement is compiled once for each dialect and executed by a
cursor of the driver, within SQLAlchemy's transaction.
"""

from __future__ import annotations

import contextlib
import re
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

_ROWS_AT_ONCE = 5000

_Statement = sa.Select[Any] | sa.Insert | sa.Update


class InsertNew(sa.Insert):
    """An insert that leaves out rows whose key exists."""

    inherit_cache = True


@compiles(InsertNew)
def _compile(statement: InsertNew, compiler: SQLCompiler, **options: Any) -> str:
    insert: str = compiler.visit_insert(statement, **options)  # type: ignore[no-untyped-call] # SQLAlchemy's
    return f"{insert} ON CONFLICT DO NOTHING"


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
            if not compiled.takes_arrays:
                cursor.executemany(compiled.sql, [compiled.values(row) for row in rows])
                return
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                cursor.execute(compiled.sql, compiled.arrays(rows[start : start + _ROWS_AT_ONCE]))

    def first(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any | None:
        """The first row of a query, a named tuple; None if there is no row."""
        compiled = self._for(connection, values)
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(compiled.sql, compiled.values(values))
            found = cursor.fetchone()
        return None if found is None else self._make_row(found)

    def all(self, connection: sa.Connection, values: Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of a query, named tuples."""
        given = values or {}
        compiled = self._for(connection, given)
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(compiled.sql, compiled.values(given))
            return [self._make_row(row) for row in cursor.fetchall()]

    def _for(self, connection: sa.Connection, row: Mapping[str, Any]) -> _Compiled:
        name = connection.dialect.name
        if name not in self._compiled:
            self._compiled[name] = _Compiled(self._statement, connection.dialect, list(row))
        return self._compiled[name]


def _insert_of_arrays(statement: InsertNew, names: list[str]) -> sa.Insert:
    """The insert with an array for each column."""
    columns = [statement.table.c[name] for name in names]
    arrays = (sa.bindparam(each.name, type_=postgresql.ARRAY(_array_type(each))) for each in columns)
    return statement.from_select(names, sa.select(*map(sa.func.unnest, arrays)))


def _array_type(column: sa.ColumnElement[Any]) -> sa.types.TypeEngine[Any]:
    """The type of the elements: JSON is text in both engines, and all integers have 64 bits in PostgreSQL."""
    if isinstance(column.type, sa.Integer):
        return sa.BigInteger()
    return column.type if isinstance(column.type, sa.Float | sa.Boolean | sa.LargeBinary) else sa.Text()


class _Compiled:
    """A statement for one dialect."""

    def __init__(self, statement: _Statement, dialect: sa.Dialect, names: list[str]) -> None:
        # One insert of arrays takes PostgreSQL half of the time of an insert for each row.
        self.takes_arrays = False
        self._floats: set[str] = set()  # the columns of floating-point numbers
        if isinstance(statement, InsertNew) and dialect.name == "postgresql":
            self._floats = {name for name in names if isinstance(statement.table.c[name].type, sa.Float)}
            self.takes_arrays, statement = True, _insert_of_arrays(statement, names)
        compiled = statement.compile(dialect=dialect, column_keys=names if isinstance(statement, sa.Insert) else None)
        self.sql = compiled.string
        if self.takes_arrays:
            # psycopg quotes each element of an array in text, which takes longer than the insert.
            self.sql = re.sub(r"(%\(\w+\))s", r"\1b", self.sql)
        self._order = compiled.positiontup if compiled.positional else None
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """The parameters for an insert of arrays. An array has elements of one type."""
        found = {name: [row[name] for row in rows] for name in rows[0]}
        for name in self._floats:
            found[name] = [None if value is None else float(value) for value in found[name]]
        return self.values(found)

    def values(self, row: Mapping[str, Any]) -> Any:
        """The parameters for the driver."""
        values = {**self._constants, **row} if self._constants else row
        return dict(values) if self._order is None else tuple(map(values.__getitem__, self._order))
