"""The history of the outbox: what was sent, to which recipients, and what was not."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import Failure
from syftnotify.core.history import (
    DELIVERED,
    AttemptRecord,
    DetectedEvent,
    EventRecord,
    JobRecord,
    NotificationRecord,
    SentMessage,
)
from syftnotify.core.inbox import UNNAMED_PREFIX, entry_id, kind_name
from syftnotify.core.kinds import EventKind
from syftnotify.core.metrics import OutboxMetrics, QueueDepth, outbox_metrics
from syftnotify.core.models import INBOX, Event, NotificationState
from syftnotify.core.outbox import OutboxCounts
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import (
    PENDING,
    UNFINISHED,
    UNKNOWN,
    WORKER_KIND_NAMES,
    chunks,
    is_about,
    is_held,
    is_one_of,
    without_index,
)
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.rows import ROW_ERRORS, parse_object, stored_event
from syftnotify.store.outbox.schema import (
    ATTEMPTS,
    EVENTS,
    INBOX_ENTRIES,
    LAST_SENT,
    NOTIFICATIONS,
    RUN_ENDS,
    SKIPPED,
    SUBMISSIONS,
    TOTALS,
    WAITING,
)
from syftnotify.store.outbox.totals import read_totals

# The worker recognizes by its own alerts what it has reported. Longer than an alert precedes the end of a sign-in.
_WORKER_EVENTS_KEPT_SECONDS = 8 * 86400.0
_WITHHELD, _DEAD = NotificationState.WITHHELD.value, NotificationState.DEAD.value
_JOB_KIND_NAMES = tuple(sorted(kind.value for kind in EventKind if kind.is_about_job))
_JOB_INBOX_KINDS = tuple(sorted(kind_name(kind) for kind in EventKind if kind.is_about_job))
_LATEST_EVENTS = sa.select(
    EVENTS.c.entity, EVENTS.c.kind, EVENTS.c.at, EVENTS.c.noticed_at, EVENTS.c.payload, EVENTS.c.seq
)
_COUNT_BY_STATE = (
    sa.select(NOTIFICATIONS.c.state, sa.func.count().label("total"))
    .where(NOTIFICATIONS.c.state.in_((*UNFINISHED, _WITHHELD, _DEAD)))
    .group_by(NOTIFICATIONS.c.state)
)
_COUNT_FAILED = sa.select(sa.func.count()).where(
    NOTIFICATIONS.c.state.in_((PENDING, UNKNOWN)), NOTIFICATIONS.c.failures > 0
)
# The index of the queue answers this alone, unless messages may be held; `created_at` is not in it.
_QUEUES = (
    sa.select(
        NOTIFICATIONS.c.transport, sa.func.count().label("waiting"), sa.func.min(NOTIFICATIONS.c.seq).label("first")
    )
    .where(sa.text(WAITING))
    .group_by(NOTIFICATIONS.c.transport)
)
_QUEUED_AT = sa.select(NOTIFICATIONS.c.created_at).where(NOTIFICATIONS.c.seq == sa.bindparam("row_seq"))
_SOURCE = NOTIFICATIONS.c.source
_SENT_AT = sa.func.max(ATTEMPTS.c.started_at).label("at")
_SENT_SINCE = CompiledStatement(
    sa.select(
        # A message has one of each.
        sa.func.min(NOTIFICATIONS.c.recipient).label("recipient"),
        sa.func.min(NOTIFICATIONS.c.transport).label("transport"),
        sa.func.min(NOTIFICATIONS.c.bundle).label("bundle"),
        sa.case((sa.func.min(_SOURCE) == sa.func.max(_SOURCE), sa.func.min(_SOURCE)), else_="").label("source"),
        _SENT_AT,
    )
    .join(NOTIFICATIONS, NOTIFICATIONS.c.id == ATTEMPTS.c.notification)
    .where(
        ATTEMPTS.c.started_at > sa.bindparam("since"),
        is_one_of(without_index(ATTEMPTS.c.outcome), (DELIVERED, Failure.UNKNOWN.value)),
    )
    .group_by(sa.case((NOTIFICATIONS.c.bundle == "", NOTIFICATIONS.c.id), else_=NOTIFICATIONS.c.bundle))
    .order_by(_SENT_AT)
)
_PRUNE_PAGE = 1000  # events read at once
_UNACKNOWLEDGED = sa.and_(NOTIFICATIONS.c.state == _DEAD, NOTIFICATIONS.c.acknowledged_at.is_(None))
_COUNT_UNACKNOWLEDGED = sa.select(sa.func.count()).where(_UNACKNOWLEDGED)


class History:
    """Implements `core.outbox.History`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def notifications(
        self,
        *,
        states: Collection[str] = (),
        kinds: Collection[str] = (),
        about: str = "",
        recipient: str = "",
        transport: str = "",
        since: float | None = None,
        before: str = "",
        skipped_for: str = "",
        limit: int | None = None,
    ) -> list[NotificationRecord]:
        if len(kinds) == 1 and limit is not None and not (states or about or recipient or skipped_for):
            return self._of_kind(next(iter(kinds)), transport, since, before, limit)
        conditions: list[sa.ColumnElement[bool]] = []
        if states:
            conditions.append(NOTIFICATIONS.c.state.in_(list(states)))
        if kinds:
            conditions.append(EVENTS.c.kind.in_(list(kinds)))
        if about:
            conditions.append(is_about(about))
        if recipient:
            # Addresses are stored in lower case, other recipients as they are configured.
            conditions.append(NOTIFICATIONS.c.recipient.in_((recipient, recipient.lower())))
        if transport:
            conditions.append(NOTIFICATIONS.c.transport == transport)
        if since is not None:
            conditions.append(NOTIFICATIONS.c.created_at >= since)
        if before:
            other = NOTIFICATIONS.alias("other")
            position = sa.select(other.c.seq).where(other.c.id == before).scalar_subquery()
            conditions.append(NOTIFICATIONS.c.seq < position)
        if skipped_for:
            conditions.append(sa.and_(sa.text(f"notifications.{SKIPPED}"), NOTIFICATIONS.c.reason == skipped_for))
        return find_notifications(self._database, *conditions, limit=limit)

    def _of_kind(
        self, kind: str, transport: str, since: float | None, before: str, limit: int
    ) -> list[NotificationRecord]:
        """The notifications about the latest events of one kind: by the events, because the kind may be rare."""
        order = (EVENTS.c.seq, NOTIFICATIONS.c.seq)
        conditions: list[sa.ColumnElement[bool]] = [EVENTS.c.kind == kind]
        if transport:
            conditions.append(without_index(NOTIFICATIONS.c.transport) == transport)
        if since is not None:
            conditions.append(NOTIFICATIONS.c.created_at >= since)
        if before:
            event, other = EVENTS.alias(), NOTIFICATIONS.alias()
            last = sa.select(event.c.seq, other.c.seq).join(other, other.c.event_key == event.c.key)
            position = last.where(other.c.id == before).subquery()
            event_seq, seq = (sa.select(column).scalar_subquery() for column in position.c)
            conditions += [EVENTS.c.seq <= event_seq, sa.tuple_(*order) < sa.tuple_(event_seq, seq)]
        return find_notifications(self._database, *conditions, order=order, limit=limit)

    def find(self, notification_id: str) -> NotificationRecord | None:
        found = find_notifications(self._database, NOTIFICATIONS.c.id == notification_id, limit=1)
        return found[0] if found else None

    def attempts(self, notification_id: str) -> list[AttemptRecord]:
        columns = [ATTEMPTS.c[item.name] for item in fields(AttemptRecord)]
        query = sa.select(*columns).where(ATTEMPTS.c.notification == notification_id).order_by(ATTEMPTS.c.seq)
        with self._database.reading() as connection:
            return [AttemptRecord(*row) for row in connection.execute(query)]

    def jobs(self, *, recipient: str = "", before: int | None = None, limit: int) -> list[JobRecord]:
        with self._database.reading() as connection:
            if recipient:
                return _jobs_of(connection, recipient, before, limit)
            later = EVENTS.alias("later")
            is_latest = ~sa.exists().where(
                later.c.entity == EVENTS.c.entity,
                later.c.seq > EVENTS.c.seq,
                without_index(later.c.kind).in_(_JOB_KIND_NAMES),
            )
            is_named = ~EVENTS.c.entity.startswith(UNNAMED_PREFIX)
            is_of_job = is_one_of(without_index(EVENTS.c.kind), _JOB_KIND_NAMES)
            query = _LATEST_EVENTS.where(is_of_job, is_named, is_latest)
            if before is not None:
                query = query.where(EVENTS.c.seq < before)
            rows = connection.execute(query.order_by(EVENTS.c.seq.desc()).limit(limit))
            return [_job_record(row, row.seq) for row in rows]

    def job(self, entity: str) -> JobRecord | None:
        query = _LATEST_EVENTS.where(EVENTS.c.entity == entity, is_one_of(EVENTS.c.kind, _JOB_KIND_NAMES))
        with self._database.reading() as connection:
            row = connection.execute(query.order_by(EVENTS.c.seq.desc()).limit(1)).first()
        return None if row is None else _job_record(row, row.seq)

    def events(self, about: str, *, limit: int | None = None) -> list[EventRecord]:
        query = (
            sa.select(EVENTS.c.key, EVENTS.c.kind, EVENTS.c.entity, EVENTS.c.at, EVENTS.c.noticed_at)
            .where(is_about(about))
            .order_by(EVENTS.c.seq.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [EventRecord(*row) for row in connection.execute(query)][::-1]

    def event(self, key: str) -> Event | None:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(EVENTS).where(EVENTS.c.key == key)).first()
        found = _detected(row)
        return None if found is None else found.event

    def latest(self, entity: str, kinds: Collection[str]) -> DetectedEvent | None:
        query = sa.select(EVENTS).where(EVENTS.c.entity == entity, without_index(EVENTS.c.kind).in_(list(kinds)))
        with self._database.reading() as connection:
            return _detected(connection.execute(query.order_by(EVENTS.c.seq.desc()).limit(1)).first())

    def starts(self, entities: Collection[str]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        is_start = without_index(EVENTS.c.kind) == EventKind.JOB_STARTED.value
        query = sa.select(EVENTS.c.entity, EVENTS.c.noticed_at).where(is_start)
        with self._database.reading() as connection:
            for some in chunks(list(entities)):
                for row in connection.execute(query.where(EVENTS.c.entity.in_(some)).order_by(EVENTS.c.seq)):
                    found.setdefault(row.entity, []).append(row.noticed_at)
        return found

    def run_ends(self, kinds: Collection[str], since: float, limit: int) -> list[DetectedEvent]:
        query = (
            sa.select(EVENTS)
            .where(sa.text(RUN_ENDS), EVENTS.c.noticed_at >= since, EVENTS.c.kind.in_(list(kinds)))
            .order_by(EVENTS.c.noticed_at.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [found for row in connection.execute(query) if (found := _detected(row)) is not None]

    def sent_since(self, since: float) -> list[SentMessage]:
        with self._database.reading() as connection:
            return [SentMessage(*row) for row in _SENT_SINCE.all(connection, {"since": since})]

    def last_sent(self, transport: str) -> float | None:
        query = sa.select(sa.func.max(TOTALS.c.value)).where(TOTALS.c.name == f"{LAST_SENT}{transport}")
        with self._database.reading() as connection:
            last = connection.execute(query).scalar()
        return None if last is None else last / 1000

    def counts(self, *, holding: Collection[str] = ()) -> OutboxCounts:
        with self._database.reading() as connection:
            by_state = {row.state: row.total for row in connection.execute(_COUNT_BY_STATE)}
            totals = read_totals(connection)
            count_held = sa.select(sa.func.count()).where(is_held(holding))
            held = connection.execute(count_held).scalar_one() if holding else 0
            count_failed = _COUNT_FAILED.where(~is_held(holding)) if held else _COUNT_FAILED
            withheld, dead = by_state.pop(_WITHHELD, 0), by_state.pop(_DEAD, 0)
            return OutboxCounts(
                waiting=sum(by_state.values()) - held,
                sent=totals.get("messages", 0),
                notifications=totals.get("notifications", 0),
                failed=connection.execute(count_failed).scalar_one(),
                unknown=totals.get("unknown", 0),
                held=held,
                withheld=withheld,
                dead=dead,
                unacknowledged=connection.execute(_COUNT_UNACKNOWLEDGED).scalar_one() if dead else 0,
            )

    def metrics(self, *, holding: Collection[str] = ()) -> OutboxMetrics:
        waiting = _QUEUES.where(~is_held(holding)) if holding else _QUEUES
        with self._database.reading() as connection:
            queues = [
                QueueDepth(
                    row.transport, row.waiting, connection.execute(_QUEUED_AT, {"row_seq": row.first}).scalar_one()
                )
                for row in connection.execute(waiting).all()
            ]
            return outbox_metrics(read_totals(connection), queues)

    def prune(
        self, before: float, now: float, *, exempt: Container[str], limit: int | None = None, dry_run: bool = False
    ) -> int:
        # Dead letters make the worker unhealthy until a user acknowledges them.
        is_needed = sa.exists().where(
            NOTIFICATIONS.c.event_key == EVENTS.c.key, sa.or_(NOTIFICATIONS.c.state.in_(UNFINISHED), _UNACKNOWLEDGED)
        )
        is_recent_alert = sa.and_(
            EVENTS.c.kind.in_(WORKER_KIND_NAMES), EVENTS.c.noticed_at > now - _WORKER_EVENTS_KEPT_SECONDS
        )
        query = sa.select(EVENTS.c.key, EVENTS.c.entity, EVENTS.c.noticed_at, EVENTS.c.seq).where(
            EVENTS.c.noticed_at < before, ~is_needed, ~is_recent_alert
        )
        with self._database.reading() if dry_run else self._database.writing() as connection:
            # The limit does not count exempt events: otherwise nothing after them would ever be deleted.
            found = (row.key for row in _oldest_first(connection, query) if row.entity not in exempt)
            keys = list(islice(found, limit))
            for some in chunks(keys) if not dry_run else ():
                # Another worker may have released or requeued a notification since these keys were read.
                connection.execute(
                    sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.event_key.in_(some)).with_for_update()
                )
                finished = sa.select(EVENTS.c.key).where(EVENTS.c.key.in_(some), ~is_needed)
                _delete_events(connection, list(connection.execute(finished).scalars()))
            if not dry_run:
                old = sa.select(SUBMISSIONS.c.seq).where(SUBMISSIONS.c.recorded_at < before).limit(limit)
                connection.execute(SUBMISSIONS.delete().where(SUBMISSIONS.c.seq.in_(old)))
        return len(keys)


def _oldest_first(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[Any]:
    """The rows of `query`, read as they are needed.

    SQLite does that by itself; the driver of PostgreSQL reads all rows of a result, so they are read in pages.
    """
    if connection.dialect.name == "sqlite":
        yield from connection.execute(query.order_by(EVENTS.c.seq))
        return
    query = query.order_by(EVENTS.c.noticed_at, EVENTS.c.seq).limit(_PRUNE_PAGE)
    position: sa.ColumnElement[bool] = sa.true()
    while rows := connection.execute(query.where(position)).all():
        yield from rows
        last = rows[-1]
        position = sa.tuple_(EVENTS.c.noticed_at, EVENTS.c.seq) > (last.noticed_at, last.seq)


def _delete_events(connection: sa.Connection, keys: Collection[str]) -> None:
    ids = sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.event_key.in_(keys))
    stored = list(connection.execute(ids.where(NOTIFICATIONS.c.medium == INBOX)).scalars())
    for some in chunks(stored):
        connection.execute(INBOX_ENTRIES.delete().where(INBOX_ENTRIES.c.id.in_(list(map(entry_id, some)))))
    connection.execute(ATTEMPTS.delete().where(ATTEMPTS.c.notification.in_(ids)))
    connection.execute(NOTIFICATIONS.delete().where(NOTIFICATIONS.c.event_key.in_(keys)))
    connection.execute(EVENTS.delete().where(EVENTS.c.key.in_(keys)))


def _jobs_of(connection: sa.Connection, recipient: str, before: int | None, limit: int) -> list[JobRecord]:
    """The jobs of which a person has a notification, the one with the latest notification first."""
    later = INBOX_ENTRIES.alias("later")
    is_latest = ~sa.exists().where(
        later.c.recipient == INBOX_ENTRIES.c.recipient,
        later.c.entity == INBOX_ENTRIES.c.entity,
        later.c.seq > INBOX_ENTRIES.c.seq,
        later.c.kind.in_(_JOB_INBOX_KINDS),
    )
    query = sa.select(INBOX_ENTRIES.c.entity, INBOX_ENTRIES.c.seq).where(
        INBOX_ENTRIES.c.recipient == recipient,
        is_one_of(INBOX_ENTRIES.c.kind, _JOB_INBOX_KINDS),
        ~INBOX_ENTRIES.c.entity.startswith(UNNAMED_PREFIX),
        is_latest,
    )
    if before is not None:
        query = query.where(INBOX_ENTRIES.c.seq < before)
    rows = connection.execute(query.order_by(INBOX_ENTRIES.c.seq.desc()).limit(limit))
    positions = {row.entity: row.seq for row in rows}
    last = (
        sa.select(sa.func.max(EVENTS.c.seq))
        .where(EVENTS.c.entity.in_(list(positions)), is_one_of(without_index(EVENTS.c.kind), _JOB_KIND_NAMES))
        .group_by(EVENTS.c.entity)
    )
    found = {row.entity: row for row in connection.execute(_LATEST_EVENTS.where(EVENTS.c.seq.in_(last)))}
    return [_job_record(found[entity], position) for entity, position in positions.items() if entity in found]


def _detected(row: Any) -> DetectedEvent | None:
    try:
        return None if row is None else DetectedEvent(stored_event(row), row.noticed_at)
    except ROW_ERRORS:
        return None


def _job_record(row: Any, position: int) -> JobRecord:
    return JobRecord(row.entity, row.kind, row.at, row.noticed_at, parse_object(row.payload), position)


def find_notifications(
    database: Database,
    *conditions: sa.ColumnElement[bool],
    order: Sequence[sa.ColumnElement[int]] = (NOTIFICATIONS.c.seq,),
    limit: int | None = None,
) -> list[NotificationRecord]:
    """The notifications that match all `conditions`, newest first; `order`: what the newest has the highest of."""
    attempts = sa.select(sa.func.count()).where(ATTEMPTS.c.notification == NOTIFICATIONS.c.id)
    last = sa.select(sa.func.max(ATTEMPTS.c.started_at)).where(ATTEMPTS.c.notification == NOTIFICATIONS.c.id)
    unknown = sa.exists().where(
        ATTEMPTS.c.notification == NOTIFICATIONS.c.id, without_index(ATTEMPTS.c.outcome) == Failure.UNKNOWN.value
    )
    query = (
        sa.select(
            NOTIFICATIONS,
            EVENTS.c.kind,
            unknown.correlate(NOTIFICATIONS).label("may_have_arrived"),
            attempts.correlate(NOTIFICATIONS).scalar_subquery().label("attempts"),
            last.correlate(NOTIFICATIONS).scalar_subquery().label("tried_at"),
        )
        .join(EVENTS, EVENTS.c.key == NOTIFICATIONS.c.event_key)
        .where(*conditions)
        .order_by(*(column.desc() for column in order))
        .limit(limit)
    )
    names = [item.name for item in fields(NotificationRecord)]
    with database.reading() as connection:
        rows = connection.execute(query)
        return [NotificationRecord(**{name: getattr(row, name) for name in names}) for row in rows]
