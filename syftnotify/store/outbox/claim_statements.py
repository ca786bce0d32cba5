"""The statements of a claim. Each is built once for each value of `resend`: whether unknown outcomes are sent again."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from syftnotify.core.history import STARTED
from syftnotify.core.kinds import EventKind
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import (
    SENDING,
    claimable,
    first_unfinished,
    is_due,
    is_emitted,
    is_next,
    is_one_of,
    is_waiting,
)
from syftnotify.store.outbox.schema import ATTEMPTS, EVENTS, NOTIFICATIONS, Priority

_NOW: sa.BindParameter[float] = sa.bindparam("now", type_=sa.Float)
_TRANSPORT = sa.bindparam("transport", type_=sa.Text)
_PRIORITY = sa.bindparam("priority", type_=sa.Integer)
_RECIPIENT = sa.bindparam("recipient", type_=sa.Text)
_OF_TRANSPORT = NOTIFICATIONS.c.transport == _TRANSPORT
_OF_PRIORITY = NOTIFICATIONS.c.priority == _PRIORITY
_TO_RECIPIENT = NOTIFICATIONS.c.recipient == _RECIPIENT
# Entities with an attempt in progress for one recipient that are excluded in advance.
_MAX_IN_PROGRESS = 64
# Latest events of an entity among which one that changes the status of a job is searched.
_MAX_STATUS_EVENTS = 100

_EARLIER = EVENTS.alias("earlier_events")
_STATUS_EVENTS = (
    sa.select(_EARLIER.c.seq, _EARLIER.c.kind)
    .where(_EARLIER.c.entity == EVENTS.c.entity, is_emitted(_EARLIER.c.key) == is_emitted(EVENTS.c.key))
    .order_by(_EARLIER.c.seq.desc())
    .limit(_MAX_STATUS_EVENTS)
    .correlate(EVENTS)
    .subquery()
)
# The kind of the entity's latest event that changes the status of a job.
_LAST_KIND = (
    sa.select(_STATUS_EVENTS.c.kind)
    .where(is_one_of(_STATUS_EVENTS.c.kind, [kind.value for kind in EventKind if kind.spec.status_after]))
    .order_by(_STATUS_EVENTS.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)
_CLAIMED_ROW = (
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
                "not_before",
                "first_failed_at",
                "failures",
                "refusals",
                "source",
                "message_domain",
            )
        ),
        *(EVENTS.c[name] for name in ("key", "kind", "occurrence", "at", "payload", "routing")),
        _LAST_KIND.label("last_kind"),
    )
    .join(EVENTS, EVENTS.c.key == NOTIFICATIONS.c.event_key)
    .order_by(NOTIFICATIONS.c.seq)
)


@cache
def next_recipients(resend: bool, priorities: tuple[Priority, ...]) -> CompiledStatement:
    """For each priority the first recipient after `after_<name>` with a due notification; after the last, the first.

    Null for a priority of which nothing is due.
    """
    columns: list[Any] = [_next_recipient(resend, priority) for priority in priorities]
    return CompiledStatement(sa.select(*columns))


def _next_recipient(resend: bool, priority: Priority) -> sa.ColumnElement[str]:
    first = (
        sa.select(NOTIFICATIONS.c.recipient)
        .where(
            is_waiting(resend=resend),
            _OF_TRANSPORT,
            NOTIFICATIONS.c.priority == sa.literal_column(str(priority.value)),
            is_due(_NOW),
        )
        .order_by(NOTIFICATIONS.c.recipient)
        .limit(1)
    )
    following = first.where(NOTIFICATIONS.c.recipient > sa.bindparam(f"after_{priority.name}", type_=sa.Text))
    return sa.func.coalesce(following.scalar_subquery(), first.scalar_subquery())


@cache
def first_of_recipient(resend: bool) -> CompiledStatement:
    """The oldest due notification of a priority to a recipient that nothing blocks."""
    # An index answers this; `is_next` would examine every notification behind an attempt in progress.
    sending = NOTIFICATIONS.alias("sending")
    in_progress = (
        sa.select(sending.c.entity)
        .where(sending.c.transport == _TRANSPORT, sending.c.state == SENDING, sending.c.recipient == _RECIPIENT)
        .limit(_MAX_IN_PROGRESS)
    )
    is_free = NOTIFICATIONS.c.entity.not_in(in_progress)
    rows = _CLAIMED_ROW.where(is_next(resend=resend), _OF_TRANSPORT, _OF_PRIORITY, _TO_RECIPIENT, is_due(_NOW), is_free)
    return CompiledStatement(rows.limit(1))


@cache
def first_for_urgent(resend: bool) -> CompiledStatement:
    """The oldest due notification of high severity to a recipient, or the earlier one that blocks it."""
    urgent = NOTIFICATIONS.alias("urgent")
    rows = _CLAIMED_ROW.join(urgent, NOTIFICATIONS.c.seq == first_unfinished(urgent, resend=resend)).where(
        is_waiting(resend=resend, table=urgent),
        urgent.c.transport == _TRANSPORT,
        urgent.c.priority == _PRIORITY,
        urgent.c.recipient == _RECIPIENT,
        urgent.c.not_before <= _NOW,
        is_next(resend=resend),
        # `||` keeps SQLite from starting with everything that is due: the few urgent rows come first.
        NOTIFICATIONS.c.transport.concat("") == _TRANSPORT,
        is_due(_NOW),
    )
    return CompiledStatement(rows.order_by(None).order_by(urgent.c.seq).limit(1))


@cache
def whole_bundle(resend: bool) -> sa.Select[Any]:
    """The notifications of a bundle that nothing blocks."""
    is_of_bundle = NOTIFICATIONS.c.bundle == sa.bindparam("bundle", type_=sa.Text)
    return _CLAIMED_ROW.where(is_of_bundle, _OF_TRANSPORT, is_next(resend=resend))


@cache
def any_due(resend: bool) -> sa.Select[Any]:
    """Whether anything is due, blocked or not. An index alone answers this."""
    due = sa.select(NOTIFICATIONS.c.seq).where(
        _OF_TRANSPORT, is_one_of(NOTIFICATIONS.c.state, claimable(resend)), is_due(_NOW)
    )
    return sa.select(due.exists())


@cache
def any_claimable(resend: bool) -> sa.Select[Any]:
    """The id of a due notification that nothing blocks."""
    return sa.select(NOTIFICATIONS.c.id).where(is_next(resend=resend), _OF_TRANSPORT, is_due(_NOW)).limit(1)


@cache
def next_moment(resend: bool) -> sa.Select[Any]:
    """The earliest moment in the future at which something becomes due."""
    moment = NOTIFICATIONS.c.not_before
    is_queued = is_one_of(NOTIFICATIONS.c.state, claimable(resend))
    return sa.select(sa.func.min(moment)).where(_OF_TRANSPORT, is_queued, moment > _NOW)


_ID = sa.bindparam("row_id", type_=sa.Text)
CLAIM = CompiledStatement(
    NOTIFICATIONS.update()
    .where(NOTIFICATIONS.c.id == _ID)
    .values(
        state=SENDING,
        claimed_by=sa.bindparam("worker_id"),
        claimed_at=sa.bindparam("moment"),
        bundle=sa.bindparam("new_bundle"),
    )
)
BEGIN_ATTEMPT = CompiledStatement(
    ATTEMPTS.insert().values(
        notification=_ID, started_at=sa.bindparam("moment"), outcome=STARTED, error="", provider_id=""
    )
)
