"""Which SQL is asked at every mail and every look? Each statement is put together once, and spelled once.

For one row SQLAlchemy takes several times as long as SQLite; so these go to the driver itself, within SQLAlchemy's
transaction, and what comes back is as SQLite keeps it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from syftnotify.errors import Failure
from syftnotify.outbox.tables import ATTEMPTS, EVENTS, FARTHEST, NOTIFICATIONS, UNFINISHED, claimable, is_due, is_next

_DIALECT = sqlite.dialect(paramstyle="qmark")  # by place: by name the driver takes a third longer


class Statement:
    """One statement with named values. Its errors are the driver's: sqlite3.Error."""

    def __init__(self, asked: sa.Select[Any] | sa.Update | sa.Insert, columns: Iterable[str] | None = None) -> None:
        """`columns` are those of an insert."""
        self._asked = asked
        self._columns = None if columns is None else [*columns]

    def rows(self, connection: sa.Connection, **values: Any) -> list[Any]:
        """What it finds, as tuples whose values have the names of the columns."""
        spelled, names, fixed = self._spelled
        given = {**fixed, **values}
        cursor = connection.connection.cursor()
        found = cursor.execute(spelled, tuple(map(given.__getitem__, names))).fetchall()
        cursor.close()
        return [*map(self._row, found)]

    def value(self, connection: sa.Connection, **values: Any) -> Any:
        """The first thing that it finds, or None."""
        found = self.rows(connection, **values)
        return found[0][0] if found else None

    def run_many(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Ask it with each of these values in turn."""
        spelled, names, fixed = self._spelled
        given = ({**fixed, **row} for row in rows) if fixed else rows
        cursor = connection.connection.cursor()
        cursor.executemany(spelled, [tuple(map(row.__getitem__, names)) for row in given])
        cursor.close()

    @cached_property
    def _row(self) -> Callable[[Iterable[Any]], Any]:
        """What makes a row of its values."""
        columns = self._asked.selected_columns.keys() if isinstance(self._asked, sa.Select) else ()
        row: Any = namedtuple("Row", columns, rename=True)  # type: ignore[misc] # columns are known at run time
        made: Callable[[Iterable[Any]], Any] = row._make
        return made

    @cached_property
    def _spelled(self) -> tuple[str, Sequence[str], dict[str, Any]]:
        """The SQL, which values it wants in which order, and those that are always the same."""
        compiled = self._asked.compile(dialect=_DIALECT, column_keys=self._columns)
        missing = {name: None for name, bind in compiled.binds.items() if bind.required}
        whole = compiled.construct_expanded_state(missing)
        fixed = {name: value for name, value in whole.parameters.items() if name not in missing}
        return whole.statement, whole.positiontup or (), fixed


_NOW: sa.BindParameter[float] = sa.bindparam("now", type_=sa.Float)
_HERE = NOTIFICATIONS.c.transport == sa.bindparam("transport", type_=sa.Text)
_THIS = sa.bindparam("this", type_=sa.Text)
_WORDED = (
    sa.select(
        *(
            NOTIFICATIONS.c[name]
            for name in (
                "id",
                "entity",
                "recipient",
                "audience",
                "transport",
                "bundle",
                "state",
                "created_at",
                "first_failed_at",
                "failures",
                "refusals",
            )
        ),
        *(EVENTS.c[name] for name in ("kind", "occurrence", "at", "payload", "routing")),
        EVENTS.c.seq.label("event_seq"),
    )
    .join(EVENTS, EVENTS.c.key == NOTIFICATIONS.c.event_key)
    .order_by(NOTIFICATIONS.c.seq)
)

PUT_EVENT = Statement(
    EVENTS.insert().prefix_with("OR IGNORE"),
    ("key", "kind", "entity", "occurrence", "at", "payload", "routing", "noticed_at"),
)
PUT_NOTIFICATION = Statement(
    NOTIFICATIONS.insert()
    .prefix_with("OR IGNORE")
    .values(failures=sa.literal_column("0"), refusals=sa.literal_column("0"), thread=sa.literal_column("''")),
    (
        "id",
        "event_key",
        "entity",
        "medium",
        "recipient",
        "audience",
        "transport",
        "route",
        "bundle",
        "state",
        "reason",
        "created_at",
        "not_before",
        "source",
        "priority",
    ),
)


@cache
def head(resend: bool) -> Statement:
    """The next notification of a transport."""
    return Statement(_WORDED.where(is_next(resend=resend), _HERE, is_due(_NOW)).limit(1))


@cache
def any_ready(resend: bool) -> Statement:
    """Whether the moment of something that waits has come, though something earlier may hold it back."""
    # Two questions, for SQLite uses the index for no moment that is below one or above another.
    waiting = sa.select(NOTIFICATIONS.c.seq).where(_HERE, NOTIFICATIONS.c.state.in_(claimable(resend)))
    moment = NOTIFICATIONS.c.not_before
    is_ready = sa.or_(waiting.where(moment <= _NOW).exists(), waiting.where(moment > _NOW + FARTHEST).exists())
    return Statement(sa.select(is_ready))


@cache
def any_due(resend: bool) -> Statement:
    """The id of the next notification of a transport."""
    return Statement(sa.select(NOTIFICATIONS.c.id).where(is_next(resend=resend), _HERE, is_due(_NOW)).limit(1))


@cache
def soonest(resend: bool) -> Statement:
    """The next moment that has not come yet."""
    moment = NOTIFICATIONS.c.not_before
    is_waiting = NOTIFICATIONS.c.state.in_(claimable(resend))
    return Statement(sa.select(sa.func.min(moment)).where(_HERE, is_waiting, moment > _NOW))


@cache
def whole_bundle(resend: bool) -> Statement:
    """All of a bundle that may leave."""
    is_of_it = NOTIFICATIONS.c.bundle == sa.bindparam("bundle", type_=sa.Text)
    return Statement(_WORDED.where(is_of_it, _HERE, is_next(resend=resend)))


CLAIM = Statement(
    NOTIFICATIONS.update()
    .where(NOTIFICATIONS.c.id == _THIS)
    .values(
        state="sending",
        claimed_by=sa.bindparam("by"),
        claimed_at=sa.bindparam("moment"),
        bundle=sa.bindparam("into"),
    )
)
BEGIN_ATTEMPT = Statement(
    ATTEMPTS.insert().values(
        notification=_THIS,
        started_at=sa.bindparam("moment"),
        outcome="started",
        error=sa.literal_column("''"),
        provider_id=sa.literal_column("''"),
    )
)
MARK_SENT = Statement(
    NOTIFICATIONS.update()
    .where(NOTIFICATIONS.c.id == _THIS)
    .values(state="sent", reason="", thread=sa.bindparam("joined"), claimed_by=None, claimed_at=None)
)
MARK_FAILED = Statement(
    NOTIFICATIONS.update()
    .where(NOTIFICATIONS.c.id == _THIS)
    .values(
        state=sa.bindparam("becomes"),
        reason=sa.bindparam("why"),
        not_before=sa.bindparam("until"),
        failures=sa.bindparam("failed"),
        refusals=sa.bindparam("refused"),
        first_failed_at=sa.bindparam("since"),
        claimed_by=None,
        claimed_at=None,
    )
)
END_ATTEMPT = Statement(
    ATTEMPTS.update()
    .where(ATTEMPTS.c.notification == _THIS, ATTEMPTS.c.outcome == "started")
    .values(
        ended_at=sa.bindparam("moment"),
        outcome=sa.bindparam("became"),
        error=sa.bindparam("why"),
        provider_id=sa.bindparam("given"),
    )
)
KINDS_OF = Statement(
    sa.select(EVENTS.c.seq, EVENTS.c.kind)
    .where(EVENTS.c.entity == sa.bindparam("entity", type_=sa.Text))
    .order_by(EVENTS.c.seq)
)
THREAD_OF = Statement(
    sa.select(NOTIFICATIONS.c.thread)
    .where(
        NOTIFICATIONS.c.entity == sa.bindparam("entity"),
        NOTIFICATIONS.c.recipient == sa.bindparam("recipient"),
        _HERE,
        NOTIFICATIONS.c.bundle == "",
        NOTIFICATIONS.c.thread != "",
    )
    .order_by(NOTIFICATIONS.c.seq.desc())
    .limit(1)
)
STATES = Statement(
    sa.select(NOTIFICATIONS.c.state, sa.func.count().label("total")).group_by(NOTIFICATIONS.c.state),
)
COUNT_FAILED = Statement(
    sa.select(sa.func.count()).where(NOTIFICATIONS.c.state.in_(("pending", "unknown")), NOTIFICATIONS.c.failures > 0)
)
COUNT_UNKNOWN = Statement(sa.select(sa.func.count()).where(ATTEMPTS.c.outcome == Failure.UNKNOWN.value))

# Those of lists are spelled anew for each length: SQLite's own lists, of JSON, would end a text at a NUL.
UNFINISHED_OF = sa.select(NOTIFICATIONS.c.event_key).where(
    NOTIFICATIONS.c.event_key.in_(sa.bindparam("keys", expanding=True)), NOTIFICATIONS.c.state.in_(UNFINISHED)
)
EVENTS_OF = sa.select(EVENTS.c.key, EVENTS.c.entity, EVENTS.c.kind, EVENTS.c.occurrence).where(
    EVENTS.c.key.in_(sa.bindparam("keys", expanding=True))
)
COUNT_HELD = sa.select(sa.func.count()).where(
    NOTIFICATIONS.c.state == "unknown", NOTIFICATIONS.c.transport.in_(sa.bindparam("names", expanding=True))
)
