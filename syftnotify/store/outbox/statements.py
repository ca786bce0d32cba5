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

from syftnotify.core.kinds import EventKind
from syftnotify.store.outbox.tables import (
    ATTEMPTS,
    EVENTS,
    NOTIFICATIONS,
    RECIPIENTS,
    TOTALS,
    UNFINISHED,
    claimable,
    first_unfinished,
    is_due,
    is_emitted,
    is_next,
    is_waiting,
)

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
                "source",
            )
        ),
        *(EVENTS.c[name] for name in ("key", "kind", "occurrence", "at", "payload", "routing")),
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
        "longest_wait",
        "source",
        "priority",
    ),
)

ADMIT = Statement(RECIPIENTS.insert().prefix_with("OR IGNORE"), ("address", "admitted_at", "is_counted"))
WITHHELD = Statement(
    sa.select(NOTIFICATIONS.c.recipient)
    .where(NOTIFICATIONS.c.state == "withheld")
    .group_by(NOTIFICATIONS.c.recipient)
    .order_by(sa.func.min(NOTIFICATIONS.c.seq))
)
COUNT_NEWCOMERS = Statement(
    sa.select(sa.func.count()).where(
        RECIPIENTS.c.admitted_at > sa.bindparam("since", type_=sa.Float),
        RECIPIENTS.c.admitted_at <= _NOW,
        RECIPIENTS.c.is_counted,
    )
)


_CLASS = NOTIFICATIONS.c.priority == sa.bindparam("priority", type_=sa.Integer)
_TO = NOTIFICATIONS.c.recipient == sa.bindparam("recipient", type_=sa.Text)


@cache
def next_recipient(resend: bool) -> Statement:
    """The first recipient after `after` with a due notification of a priority."""
    return Statement(
        sa.select(NOTIFICATIONS.c.recipient)
        .where(
            is_waiting(resend=resend),
            _HERE,
            _CLASS,
            NOTIFICATIONS.c.recipient > sa.bindparam("after", type_=sa.Text),
            is_due(_NOW),
        )
        .order_by(NOTIFICATIONS.c.recipient)
        .limit(1)
    )


@cache
def first_of(resend: bool) -> Statement:
    """The oldest due notification of one priority to one recipient that nothing holds back."""
    # Skips what the index alone shows to be blocked by an attempt under way.
    sending = NOTIFICATIONS.alias("sending")
    under_way = (
        sa.select(sending.c.entity)
        .where(
            sending.c.transport == sa.bindparam("transport", type_=sa.Text),
            sending.c.state == "sending",
            sending.c.recipient == sa.bindparam("recipient", type_=sa.Text),
        )
        .limit(64)
    )
    is_free = NOTIFICATIONS.c.entity.not_in(under_way)
    return Statement(_WORDED.where(is_next(resend=resend), _HERE, _CLASS, _TO, is_due(_NOW), is_free).limit(1))


@cache
def first_for_urgent(resend: bool) -> Statement:
    """What is to be sent now so that the oldest due notification of high severity can be: it, or an earlier one."""
    urgent = NOTIFICATIONS.alias("urgent")
    return Statement(
        _WORDED.join(urgent, NOTIFICATIONS.c.seq == first_unfinished(urgent, resend=resend))
        .where(
            is_waiting(resend=resend, table=urgent),
            urgent.c.transport == sa.bindparam("transport", type_=sa.Text),
            urgent.c.priority == sa.bindparam("priority", type_=sa.Integer),
            urgent.c.recipient == sa.bindparam("recipient", type_=sa.Text),
            urgent.c.not_before <= _NOW,
            is_next(resend=resend),
            # `+` keeps SQLite from beginning with everything that is due: the few urgent ones come first.
            sa.literal_column("+notifications.transport") == sa.bindparam("transport", type_=sa.Text),
            is_due(_NOW),
        )
        .order_by(None)
        .order_by(urgent.c.seq)
        .limit(1)
    )


@cache
def any_ready(resend: bool) -> Statement:
    """Whether anything is due, though something earlier may hold it back."""
    waiting = sa.select(NOTIFICATIONS.c.seq).where(_HERE, NOTIFICATIONS.c.state.in_(claimable(resend)), is_due(_NOW))
    return Statement(sa.select(waiting.exists()))


@cache
def any_due(resend: bool) -> Statement:
    """The id of the next notification of a transport."""
    return Statement(sa.select(NOTIFICATIONS.c.id).where(is_next(resend=resend), _HERE, is_due(_NOW)).limit(1))


@cache
def soonest(resend: bool) -> Statement:
    """The next moment that has not come yet."""
    moment = NOTIFICATIONS.c.not_before
    is_queued = NOTIFICATIONS.c.state.in_(claimable(resend))
    return Statement(sa.select(sa.func.min(moment)).where(_HERE, is_queued, moment > _NOW))


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
        longest_wait=sa.bindparam("wait"),
        failures=sa.bindparam("failed"),
        refusals=sa.bindparam("refused"),
        first_failed_at=sa.bindparam("since"),
        claimed_by=None,
        claimed_at=None,
    )
)
END_ATTEMPT = Statement(
    ATTEMPTS.update()
    # `+` keeps SQLite from the index of outcomes: all of a large digest have begun.
    .where(ATTEMPTS.c.notification == _THIS, sa.literal_column("+attempts.outcome") == "started")
    .values(
        ended_at=sa.bindparam("moment"),
        outcome=sa.bindparam("became"),
        error=sa.bindparam("why"),
        provider_id=sa.bindparam("given"),
    )
)
# How many of an entity's last events are searched for one that says where its job stands.
_STATUS_EVENTS = 100
_LATEST = (
    sa.select(EVENTS.c.seq, EVENTS.c.kind)
    .where(
        EVENTS.c.entity == sa.bindparam("entity", type_=sa.Text),
        is_emitted() == sa.bindparam("emitted", type_=sa.Boolean),
    )
    .order_by(EVENTS.c.seq.desc())
    .limit(_STATUS_EVENTS)
    .subquery()
)
LATEST_STATUS_EVENT = Statement(
    sa.select(_LATEST.c.seq, _LATEST.c.kind)
    .where(_LATEST.c.kind.in_([kind.value for kind in EventKind if kind.spec.status_after]))
    .order_by(_LATEST.c.seq.desc())
    .limit(1)
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
COUNTED_STATES = (*UNFINISHED, "withheld", "dead")
STATES = Statement(
    sa.select(NOTIFICATIONS.c.state, sa.func.count().label("total"))
    .where(NOTIFICATIONS.c.state.in_(COUNTED_STATES))
    .group_by(NOTIFICATIONS.c.state),
)
COUNT_FAILED = Statement(
    sa.select(sa.func.count()).where(NOTIFICATIONS.c.state.in_(("pending", "unknown")), NOTIFICATIONS.c.failures > 0)
)
COUNT_UNACKNOWLEDGED = Statement(
    sa.select(sa.func.count()).where(NOTIFICATIONS.c.state == "dead", NOTIFICATIONS.c.acknowledged_at.is_(None))
)
TOTAL_OF = Statement(sa.select(TOTALS.c.name, TOTALS.c.value))
_ADDED = sqlite.insert(TOTALS).values(name=sa.bindparam("total"), value=sa.bindparam("count"))
ADD_TO_TOTAL = Statement(
    _ADDED.on_conflict_do_update(index_elements=["name"], set_={"value": TOTALS.c.value + _ADDED.excluded.value})
)

# Those of lists are spelled anew for each length: SQLite's own lists, of JSON, would end a text at a NUL.
UNFINISHED_OF = sa.select(NOTIFICATIONS.c.event_key).where(
    NOTIFICATIONS.c.event_key.in_(sa.bindparam("keys", expanding=True)), NOTIFICATIONS.c.state.in_(UNFINISHED)
)
EVENTS_OF = sa.select(EVENTS.c.key, EVENTS.c.entity, EVENTS.c.kind, EVENTS.c.occurrence).where(
    EVENTS.c.key.in_(sa.bindparam("keys", expanding=True)), ~is_emitted()
)
KEYS_KNOWN = sa.select(EVENTS.c.key).where(EVENTS.c.key.in_(sa.bindparam("keys", expanding=True)))
ADMITTED_OF = sa.select(RECIPIENTS.c.address).where(RECIPIENTS.c.address.in_(sa.bindparam("addresses", expanding=True)))
COUNT_HELD = sa.select(sa.func.count()).where(
    NOTIFICATIONS.c.state == "unknown", NOTIFICATIONS.c.transport.in_(sa.bindparam("names", expanding=True))
)
