"""SQL conditions that several statements share: which notifications wait, are due, or are blocked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import WORKER_KINDS
from syftnotify.core.models import DIGEST_PREFIX, EMITTED_PREFIX, QUIET_HOURS_PREFIX, NotificationState
from syftnotify.store.outbox.schema import ENTITY_NAME, EVENTS, NOTIFICATIONS, UNSENT, WAITING, Priority

PENDING, SENDING, UNKNOWN = (
    NotificationState.PENDING.value,
    NotificationState.SENDING.value,
    NotificationState.UNKNOWN.value,
)
# Without withheld ones, which may stay in that state for ever and block nothing.
UNFINISHED = (PENDING, SENDING, UNKNOWN)
# The worker's own messages to the owner never become part of a throttle's digest.
WORKER_KIND_NAMES = tuple(sorted(kind.value for kind in WORKER_KINDS))
# SQLite allows 999 variables in one statement in old builds.
_CHUNK = 500


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in parts that fit into one statement."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


class place_of(FunctionElement[int]):  # noqa: N801 - it is used as a function
    """The position of the first character of `part` in `text`, from 1; 0: it is not there."""

    inherit_cache = True
    type = sa.Integer()

    def __init__(self, part: str, text: sa.ColumnElement[str]) -> None:
        super().__init__(text, sa.literal(part))


@compiles(place_of)
def _place_of(element: place_of, compiler: SQLCompiler, **options: Any) -> str:
    name = "strpos" if compiler.dialect.name == "postgresql" else "instr"
    return f"{name}({compiler.process(element.clauses, **options)})"


def is_about(text: str) -> sa.ColumnElement[bool]:
    """The event's entity is `text`, or a job of that name."""
    if "/" in text:  # no job has such a name
        return EVENTS.c.entity == text  # which an index finds
    last_part: sa.ColumnClause[str] = sa.literal_column(ENTITY_NAME.replace("entity", "events.entity"))
    return sa.or_(EVENTS.c.entity == text, last_part == entity_id(text))


def is_emitted(key: sa.ColumnElement[str] = EVENTS.c.key) -> sa.ColumnElement[bool]:
    """The event with that key came through the spool. Its entity may be equal to one of the tree."""
    return sa.func.substr(key, 1, len(EMITTED_PREFIX)) == EMITTED_PREFIX


def is_due(now: float | sa.BindParameter[float]) -> sa.ColumnElement[bool]:
    """`not_before` has passed. One that a wrong clock set too far ahead is corrected by `Queue.bound_waits`."""
    return NOTIFICATIONS.c.not_before <= now


def is_one_of(column: sa.ColumnElement[str], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """As `column.in_(values)` for constants, without parameters, which cost time at each execution.

    `values` must be words: they are part of the statement's text.
    """
    return sa.or_(*(column == sa.literal_column(f"'{value}'") for value in values))


def without_index(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """The column as an expression, for which SQLite uses no index.

    It is for queries with another condition that is narrower, or with an order that an index has.
    """
    return column.concat("")


def claimable(resend: bool) -> tuple[str, ...]:
    """The states that can be claimed; `resend`: unknown outcomes are sent again."""
    return (PENDING, UNKNOWN) if resend else (PENDING,)


def is_held(transports: Collection[str]) -> sa.ColumnElement[bool]:
    """Its outcome is unknown, and its transport is one of those that do not send it again before a user decides."""
    return sa.and_(NOTIFICATIONS.c.state == UNKNOWN, NOTIFICATIONS.c.transport.in_(list(transports)))


def is_waiting(*, resend: bool, table: sa.FromClause = NOTIFICATIONS) -> sa.ColumnElement[bool]:
    """It is in a claimable state. Repeats the text of the partial index `queue`."""
    return sa.and_(sa.text(f"{getattr(table, 'name', '')}.{WAITING}"), is_one_of(table.c.state, claimable(resend)))


def is_next(*, resend: bool) -> sa.ColumnElement[bool]:
    """It waits, and no earlier notification about its entity to its recipient is unfinished, its own bundle aside.

    A message of unknown outcome that is held blocks no later one.
    """
    earlier = NOTIFICATIONS.alias("earlier")
    blocked = (
        sa.select(sa.literal(1))
        .where(
            earlier.c.entity == NOTIFICATIONS.c.entity,
            earlier.c.recipient == NOTIFICATIONS.c.recipient,
            earlier.c.medium == NOTIFICATIONS.c.medium,
            earlier.c.seq < NOTIFICATIONS.c.seq,
            sa.text(f"earlier.{UNSENT}"),
            is_one_of(earlier.c.state, (SENDING, *claimable(resend))),
            ~_may_be_overtaken(earlier.c.bundle, NOTIFICATIONS.c.priority),
            sa.or_(NOTIFICATIONS.c.bundle == "", earlier.c.bundle != NOTIFICATIONS.c.bundle),
        )
        .correlate(NOTIFICATIONS)
        .exists()
    )
    return sa.and_(is_waiting(resend=resend), ~blocked)


def first_unfinished(of: sa.FromClause, *, resend: bool) -> sa.ScalarSelect[int]:
    """The `seq` of the earliest row of the same conversation that blocks `of`, or that of `of` itself."""
    earlier = NOTIFICATIONS.alias("earliest")
    return (
        sa.select(earlier.c.seq)
        .where(
            earlier.c.entity == of.c.entity,
            earlier.c.recipient == of.c.recipient,
            earlier.c.medium == of.c.medium,
            earlier.c.seq <= of.c.seq,
            sa.text(f"earliest.{UNSENT}"),
            is_one_of(earlier.c.state, (SENDING, *claimable(resend))),
            sa.or_(earlier.c.seq == of.c.seq, ~_may_be_overtaken(earlier.c.bundle, of.c.priority)),
        )
        .order_by(earlier.c.seq)
        .limit(1)
        .correlate(of)
        .scalar_subquery()
    )


def _may_be_overtaken(bundle: sa.ColumnElement[str], priority: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether a candidate of `priority` may be sent before what waits in `bundle`.

    That must be a digest without an attempt: of quiet hours, or, for high severity, of the `digest` section.
    """
    is_exempt = sa.or_(
        bundle.startswith(QUIET_HOURS_PREFIX, autoescape=True),
        sa.and_(bundle.startswith(DIGEST_PREFIX, autoescape=True), priority == Priority.HIGH.value),
    )
    return sa.and_(bundle != "", ~bundle.contains("#"), is_exempt)
