"""The notifications of persons, which are read and never sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from syftnotify.core.inbox import InboxBatch, InboxEntry, InboxFilter
from syftnotify.core.kinds import REMINDER_KINDS
from syftnotify.core.models import MAIL, NotificationState
from syftnotify.core.text import escape
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import PENDING, chunks, without_index
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.events import record_changed
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.rows import dump_json
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS
from syftnotify.store.outbox.schema import INBOX_ENTRIES as ENTRIES

log = logging.getLogger(__name__)

_INSERT = CompiledStatement(insert_new(ENTRIES))
_COUNT = sa.select(sa.func.count()).where(ENTRIES.c.recipient == sa.bindparam("person"))
_COUNT_UNREAD = _COUNT.where(ENTRIES.c.read_at.is_(None))
_AFTER = (
    sa.select(ENTRIES)
    .where(ENTRIES.c.seq > sa.bindparam("position"))
    .order_by(ENTRIES.c.seq)
    .limit(sa.bindparam("most"))
)
_REMINDERS = [kind.value for kind in REMINDER_KINDS]
XID_SHIFT = 64  # bits of a position that are the number of the row
READ = "read in the inbox"  # why mail is skipped
_FEW = 1000  # rows that are read and sorted, instead of searched for in order
_LAST = sa.select(sa.func.max(ENTRIES.c.seq))


class Inbox:
    """Implements `core.inbox.Inbox`."""

    _select = sa.select(ENTRIES)

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, recipient: str, conditions: InboxFilter, limit: int) -> InboxBatch:
        found: dict[int, Any] = {}
        with self._database.reading() as connection:
            for query in _queries(connection, self._select, recipient, conditions):
                found.update({row.seq: row for row in connection.execute(query.limit(limit + 1))})
        return batch_of([found[seq] for seq in sorted(found, reverse=True)], limit)

    def find(self, recipient: str, entry_id: str) -> InboxEntry | None:
        query = self._select.where(ENTRIES.c.id == entry_id, ENTRIES.c.recipient == recipient)
        with self._database.reading() as connection:
            found = _entries(connection.execute(query))
        return found[0] if found else None

    def counts(self, recipient: str) -> tuple[int, int]:
        values = {"person": recipient}
        with self._database.reading() as connection:
            total = connection.execute(_COUNT, values).scalar_one()
            return int(total), int(connection.execute(_COUNT_UNREAD, values).scalar_one())

    def count_unread(self, recipient: str, limit: int) -> int:
        unread = sa.select(ENTRIES.c.seq).where(ENTRIES.c.recipient == recipient, ENTRIES.c.read_at.is_(None))
        query = sa.select(sa.func.count()).select_from(unread.limit(limit).subquery())
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def mark_read(self, recipient: str, ids: Sequence[str], now: float) -> list[str]:
        asked = list(dict.fromkeys(ids))
        with self._database.writing() as connection:
            own: set[str] = set()
            for some in chunks(asked):
                query = sa.select(ENTRIES.c.id).where(ENTRIES.c.recipient == recipient, ENTRIES.c.id.in_(some))
                own.update(connection.execute(query).scalars())
            missing = [each for each in asked if each not in own]
            if not missing:
                for some in chunks(asked):
                    unread = sa.and_(ENTRIES.c.id.in_(some), ENTRIES.c.read_at.is_(None))
                    read = connection.execute(sa.select(ENTRIES.c.event_key, ENTRIES.c.entity).where(unread)).all()
                    connection.execute(ENTRIES.update().where(unread).values(read_at=now, updated_at=now))
                    _skip_mail(connection, recipient, read)
        return missing

    def after(self, position: int, limit: int, recipient: str = "") -> InboxBatch:
        query = _AFTER.where(ENTRIES.c.recipient == recipient) if recipient else _AFTER
        with self._database.reading() as connection:
            rows = connection.execute(query, {"position": position, "most": limit + 1}).all()
        return batch_of(rows, limit)

    def position(self) -> int | None:
        with self._database.reading() as connection:
            found = connection.execute(_LAST).scalar()
        return None if found is None else int(found)

    def latest(self, recipient: str) -> InboxEntry | None:
        found = self.page(recipient, InboxFilter(), 1).entries
        return found[0] if found else None


def add_entries(connection: sa.Connection, entries: Iterable[InboxEntry]) -> None:
    """Store notifications; those that are stored already stay as they are."""
    rows = [
        {
            "id": entry.id,
            "recipient": entry.recipient,
            "kind": entry.kind,
            "entity": entry.entity,
            "workflow": entry.workflow,
            "workflow_name": entry.workflow_name,
            "event_key": entry.event_key,
            "payload": dump_json(dict(entry.payload)),
            "created_at": entry.created_at,
            "updated_at": entry.updated_at,
        }
        for entry in entries
    ]
    if rows:
        _INSERT.execute(connection, rows)


def _skip_mail(connection: sa.Connection, recipient: str, read: Sequence[Any]) -> None:
    """Skip the mail to a person that waits and is about events that were read, and reminders about their entities."""
    keys, entities = [row.event_key for row in read if row.event_key], [row.entity for row in read]
    reminders = sa.select(EVENTS.c.key).where(
        EVENTS.c.entity.in_(entities), without_index(EVENTS.c.kind).in_(_REMINDERS)
    )
    waiting = sa.and_(
        NOTIFICATIONS.c.recipient == recipient,
        NOTIFICATIONS.c.medium == MAIL,
        NOTIFICATIONS.c.state == PENDING,
        sa.or_(NOTIFICATIONS.c.event_key.in_(keys), NOTIFICATIONS.c.event_key.in_(reminders)),
    )
    skipped = connection.execute(sa.select(NOTIFICATIONS.c.event_key).where(waiting)).scalars().all()
    values = {"state": NotificationState.SKIPPED.value, "reason": READ}
    connection.execute(NOTIFICATIONS.update().where(waiting).values(**values))
    record_changed(connection, skipped)


def _queries(
    connection: sa.Connection, entries: sa.Select[Any], recipient: str, conditions: InboxFilter
) -> Iterator[sa.Select[Any]]:
    """The queries whose results together are those notifications, each in the order of an index."""
    query = entries.where(ENTRIES.c.recipient == recipient)
    order: sa.ColumnElement[Any] = ENTRIES.c.seq
    if conditions.unread:
        query = query.where(ENTRIES.c.read_at.is_(None))
    if conditions.kind:
        query = query.where(ENTRIES.c.kind == conditions.kind)
    if conditions.entity:
        query = query.where(ENTRIES.c.entity == conditions.entity)
    if conditions.before is not None:
        query = query.where(ENTRIES.c.seq < conditions.before)
    if conditions.since is not None:
        query = query.where(ENTRIES.c.created_at >= conditions.since)
        recent = sa.select(ENTRIES.c.seq).where(
            ENTRIES.c.recipient == recipient, ENTRIES.c.created_at >= conditions.since
        )
        count = sa.select(sa.func.count()).select_from(recent.limit(_FEW).subquery())
        if connection.execute(count).scalar_one() < _FEW:
            # The sum keeps SQLite from walking through all older notifications: the few are sorted instead.
            order = ENTRIES.c.seq + 0
    query = query.order_by(order.desc())
    if not conditions.workflow:
        yield query
        return
    for column in (ENTRIES.c.workflow, ENTRIES.c.workflow_name):  # `or` would use neither of their indexes
        yield query.where(column == conditions.workflow)


def batch_of(rows: Sequence[Any], limit: int) -> InboxBatch:
    """The batch of at most `limit` rows; one more shows that there are more."""
    read = rows[:limit]
    if not read:
        return InboxBatch([], None, None, has_more=False)
    return InboxBatch(_entries(read), int(read[-1].seq), stream_position(read[-1]), len(rows) > limit)


def stream_position(row: Any) -> int:
    """The place of a row in the order of streams: by the transaction that stored it, and by its number.

    In SQLite there is no column `xid`: transactions are stored one after the other.
    """
    return (int(getattr(row, "xid", 0)) << XID_SHIFT) + int(row.seq)


def _entries(rows: Iterable[Any]) -> list[InboxEntry]:
    return [entry for row in rows if (entry := _entry(row)) is not None]


def _entry(row: Any) -> InboxEntry | None:
    """The notification of a row; None, with a log entry, if the row is not valid."""
    try:
        payload = json.loads(row.payload)
        if not isinstance(payload, dict):
            raise TypeError("its payload is not an object")
        return InboxEntry(
            row.id,
            row.recipient,
            row.kind,
            row.entity,
            row.workflow,
            row.workflow_name,
            row.event_key,
            payload,
            float(row.created_at),
            None if row.read_at is None else float(row.read_at),
            float(row.updated_at),
            row.seq,
            stream_position(row),
        )
    except (ValueError, TypeError, RecursionError) as error:
        log.error("notification %s of the inbox is not valid (%s) and is left out", escape(str(row.id)), error)
        return None
