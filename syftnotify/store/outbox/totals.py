"""Counters that pruning does not lower: messages, notifications, events, and those of `core.metrics`.

When a transport sent last is kept beside them, because it is written with them.
"""

from __future__ import annotations

import sqlalchemy as sa

from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.inserts import Upsert
from syftnotify.store.outbox.schema import LAST_SENT, TOTALS

_IS_MOMENT = sa.func.substr(TOTALS.c.name, 1, len(LAST_SENT)) == LAST_SENT
_ADD = Upsert(
    TOTALS,
    ["name"],
    lambda new: {
        "value": sa.case(
            (_IS_MOMENT, new.value),
            else_=TOTALS.c.value + new.value,
        )
    },
    postgres_key=["shard"],
)
# A counter has several rows in PostgreSQL.
_ALL = CompiledStatement(
    sa.select(
        TOTALS.c.name,
        sa.case((_IS_MOMENT, sa.func.max(TOTALS.c.value)), else_=sa.func.sum(TOTALS.c.value)).label("value"),
    ).group_by(TOTALS.c.name)
)


def add_to_totals(connection: sa.Connection, **counts: int) -> None:
    """Increase the counters of these names."""
    if not counts:
        return
    _ADD.execute(connection, [{"name": name, "value": count} for name, count in sorted(counts.items())])


def last_sent(transport: str, now: float) -> dict[str, int]:
    """What to record when `transport` sends: in ms since 1970, instead of an increase."""
    return {f"{LAST_SENT}{transport}": round(now * 1000)}


def read_totals(connection: sa.Connection) -> dict[str, int]:
    """All counters by name; one that was never increased is missing."""
    return {row.name: int(row.value) for row in _ALL.all(connection)}
