"""Tables of the outbox in PostgreSQL, their views, and the statements that create and upgrade them.

The tables are those of SQLite with one more column, `scope`: the home that a row belongs to. Statements about one home
use views of the same names that show its rows only, so that they are the same in both engines. Claims, outcomes and
recovery use the tables themselves, because every worker delivers for all homes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles

from syftnotify.core.models import NotificationState
from syftnotify.store.outbox.inserts import SCOPE
from syftnotify.store.outbox.schema import SCHEMA, JsonText

TABLES_SCHEMA, VIEWS_SCHEMA = "syftnotify", "syftnotify_scope"
NOW = "extract(epoch FROM clock_timestamp())::float"  # on the clock of the database
SCOPE_SETTING = "syftnotify.scope"  # a setting of each transaction: whose rows the views show
SCHEMA_VERSION = 1
# The statements that upgrade a database of a version to the next one. They must leave it usable for workers of the
# version before: during an upgrade both run.
UPGRADES: dict[int, tuple[str, ...]] = {}

_SENDING = f"state = '{NotificationState.SENDING.value}'"
_TEXT = postgresql.TEXT(collation="C")  # compared by code points, as in SQLite and in Python
# Many workers increase the same counters: they have several rows, so that one rarely waits for the commit of another.
_SHARDS = 16
_GLOBAL_INDEXES = frozenset({"queue", "due"})  # of statements about all scopes

# Indexes of which the rows of one key are read in the order of their numbers. Those of SQLite always end with it.
_IN_ORDER = frozenset({"ix_events_entity"})


class Xid8(sa.types.UserDefinedType[int]):
    """The id of a transaction, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        """The type in the table definition."""
        return "xid8"


@compiles(JsonText, "postgresql")
def _json_as_text(_type: JsonText, _compiler: object, **_options: object) -> str:
    """Not `jsonb`, which refuses escaped NUL and lone surrogates."""
    return 'TEXT COLLATE "C"'


METADATA = sa.MetaData(schema=TABLES_SCHEMA)


def _column(column: sa.Column[object]) -> sa.Column[object]:
    kind: sa.types.TypeEngine[Any] = column.type
    if isinstance(kind, sa.Text):
        kind = _TEXT
    elif isinstance(kind, sa.Integer):
        kind = sa.BigInteger()
    default: Any = column.server_default.arg if isinstance(column.server_default, sa.DefaultClause) else None
    identity = [sa.Identity()] if column.name == "seq" else []
    return sa.Column(column.name, kind, *identity, nullable=column.nullable, server_default=default)


def _index(index: sa.Index, table: sa.Table) -> sa.Index:
    columns = [
        table.c[each.name] if isinstance(each, sa.Column) else sa.text(f"({each})") for each in index.expressions
    ]
    if index.name not in _GLOBAL_INDEXES:
        columns.insert(0, table.c[SCOPE])
    if index.name in _IN_ORDER:
        columns.append(table.c.seq)
    where = index.dialect_options["sqlite"]["where"]
    return sa.Index(f"{table.name}_{str(index.name).removeprefix('ix_')}", *columns, postgresql_where=where)


def _table(source: sa.Table, *added: sa.Column[object]) -> sa.Table:
    """The table for one of SQLite; its keys and most of its indexes begin with the scope."""
    scope = sa.Column(SCOPE, _TEXT, nullable=False, server_default=sa.text(f"current_setting('{SCOPE_SETTING}')"))
    table = sa.Table(source.name, METADATA, scope, *map(_column, source.columns), *added)
    key = [column.name for column in source.primary_key]
    if source.name == "totals":
        key.append("shard")
    if source.name == "changed_events":
        # Without a unique key, because an insert that meets one that is being deleted would do nothing.
        table.append_column(sa.Column("seq", sa.BigInteger, sa.Identity()))
        sa.Index("changed_events_of_scope", table.c[SCOPE], table.c.key)
        key = ["seq"]
    table.append_constraint(sa.PrimaryKeyConstraint(*key) if key == ["seq"] else sa.PrimaryKeyConstraint(SCOPE, *key))
    for constraint in source.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            table.append_constraint(sa.UniqueConstraint(SCOPE, *(column.name for column in constraint.columns)))
    for index in source.indexes:
        _index(index, table)
    return table


_ADDED: dict[str, list[sa.Column[object]]] = {
    "notifications": [
        sa.Column("worker", sa.BigInteger),  # `workers.id` of the worker that attempts it
        sa.Column("attempt", sa.BigInteger),  # `attempts.seq` of that attempt: no other outcome is recorded
    ],
    # The transaction that stored it: a stream must not pass one that has not committed yet.
    "inbox": [sa.Column("xid", Xid8, nullable=False, server_default=sa.text("pg_current_xact_id()"))],
    "totals": [
        sa.Column(
            "shard",
            sa.SmallInteger,
            server_default=sa.text(f"(pg_backend_pid() % {_SHARDS})::smallint"),
        )
    ],
}
for _source in SCHEMA.sorted_tables:
    _table(_source, *_ADDED.get(_source.name, ()))

EVENTS, NOTIFICATIONS, ENTRIES = (
    METADATA.tables[f"syftnotify.{name}"] for name in ("events", "notifications", "inbox")
)
sa.Index("notifications_claimed", NOTIFICATIONS.c.worker, postgresql_where=sa.text(_SENDING))
sa.Index("events_by_age", EVENTS.c[SCOPE], EVENTS.c.noticed_at, EVENTS.c.seq)
sa.Index("inbox_by_commit", ENTRIES.c[SCOPE], ENTRIES.c.xid, ENTRIES.c.seq)

# -- tables without views: what all homes share ------------------------------------------------------------------

WORKERS = sa.Table(
    "workers",
    METADATA,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column(SCOPE, _TEXT, nullable=False),
    sa.Column("host", _TEXT, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("mode", _TEXT, nullable=False),  # `core.cluster.WorkerMode`
    sa.Column("version", _TEXT, nullable=False),
    sa.Column("transports", _TEXT, nullable=False),  # JSON: `core.cluster.WorkerRecord.transports`
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),  # on the clock of the database
    sa.Column("has_lock", sa.Boolean, nullable=False),  # whether it also holds an advisory lock
    sa.Column("ended_at", sa.Float),  # when it stopped, or was found dead
)
SCOPES = sa.Table(
    "scopes",
    METADATA,
    sa.Column(SCOPE, _TEXT, primary_key=True),
    sa.Column("context", _TEXT, nullable=False),  # JSON: what other workers need to render its messages
    sa.Column("is_enabled", sa.Boolean, nullable=False, server_default=sa.true()),  # whether anything is sent for it
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),  # counts the leaders
    sa.Column("leader", sa.BigInteger),  # `workers.id` of the worker that scans
    sa.Column("leader_until", sa.Float),  # unless it is renewed
    sa.Column("ledger", sa.LargeBinary),  # that of the leader, compressed by zlib
    sa.Index("scopes_disabled", SCOPE, postgresql_where=sa.text("NOT is_enabled")),  # every claim reads them
)
TRANSPORTS = sa.Table(
    "transports",
    METADATA,
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("next_free", sa.Float, nullable=False, server_default="0"),  # when the rate limit has no debt any more
    sa.Column("paused_until", sa.Float, nullable=False, server_default="0"),
    sa.Column("pause_reason", _TEXT, nullable=False, server_default=""),
    sa.Column("pause_failure", _TEXT, nullable=False, server_default=""),  # a `Failure`; empty: it is not paused
)
# Messages of the last days that count towards the throttles.
COUNTED_MESSAGES = sa.Table(
    "counted_messages",
    METADATA,
    sa.Column("attempt", sa.BigInteger, primary_key=True),  # `attempts.seq` of its first notification
    sa.Column("transport", _TEXT, nullable=False),
    sa.Column("recipient", _TEXT, nullable=False),
    sa.Column("bundle", _TEXT, nullable=False),
    sa.Column("source", _TEXT, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Index("counted_of_recipient", "recipient", "at"),
    sa.Index("counted_of_source", "source", "at"),
    sa.Index("counted_by_age", "at"),
)
# What the program records about the database itself.
PROPERTIES = sa.Table(
    "properties",
    METADATA,
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("value", _TEXT, nullable=False),
)
# How far outboxes in files were copied.
COPIES = sa.Table(
    "copies",
    METADATA,
    sa.Column(SCOPE, _TEXT, primary_key=True),
    sa.Column("source", _TEXT, primary_key=True),  # id of the file
    sa.Column("table_name", _TEXT, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),  # the last `rowid` that was copied
    sa.Column("copied", sa.BigInteger, nullable=False),  # rows
)
# Rows of these tables are updated or deleted soon after they were inserted.
_HOT = ("notifications", "attempts", "counted_messages", "changed_events", "workers", "scopes", "transports", "totals")


def creation() -> Iterator[sa.Executable]:
    """The statements that create everything in an empty database."""
    yield sa.schema.CreateSchema(TABLES_SCHEMA)
    yield sa.schema.CreateSchema(VIEWS_SCHEMA)
    for table in METADATA.sorted_tables:
        yield sa.schema.CreateTable(table)
        yield from map(sa.schema.CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))
    for name in _HOT:
        yield sa.text(
            f"ALTER TABLE {TABLES_SCHEMA}.{name} SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, "
            "autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1)"
        )


def views() -> Iterator[sa.Executable]:
    """The statements that create the views, or add new columns to them."""
    for table in SCHEMA.sorted_tables:
        yield sa.text(
            f"CREATE OR REPLACE VIEW {VIEWS_SCHEMA}.{table.name} AS SELECT * FROM {TABLES_SCHEMA}.{table.name} "
            f"WHERE {SCOPE} = current_setting('{SCOPE_SETTING}')"
        )
