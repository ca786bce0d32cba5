"""Counters that pruning does not lower: messages, notifications, events, and those of `core.metrics`.

When a transport sent last is kept beside them, because it is written with them.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.schema import LAST_SENT, TOTALS

_INSERT = sqlite.insert(TOTALS).values(name=sa.bindparam("total"), value=sa.bindparam("count"))
_ADD = CompiledStatement(
    _INSERT.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "value": sa.case(
                (sa.func.substr(TOTALS.c.name, 1, len(LAST_SENT)) == LAST_SENT, _INSERT.excluded.value),
                else_=TOTALS.c.value + _INSERT.excluded.value,
            )
        },
    )
)
_ALL = sa.select(TOTALS.c.name, TOTALS.c.value)


def add_to_totals(connection: sa.Connection, **counts: int) -> None:
    """Increase the counters of these names."""
    if not counts:
        return
    _ADD.execute(connection, [{"total": name, "count": count} for name, count in counts.items()])


def last_sent(transport: str, now: float) -> dict[str, int]:
    """What to record when `transport` sends: in ms since 1970, instead of an increase."""
    return {f"{LAST_SENT}{transport}": round(now * 1000)}


def read_totals(connection: sa.Connection) -> dict[str, int]:
    """All counters by name; one that was never increased is missing."""
    return {row.name: row.value for row in connection.execute(_ALL)}
