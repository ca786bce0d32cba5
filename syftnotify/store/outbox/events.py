"""The events of the outbox, and which of them have unfinished notifications."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import RecordedEvent
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import PENDING, UNFINISHED, UNKNOWN, chunks, is_emitted, is_one_of
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.schema import ATTEMPTS, CHANGED_EVENTS, EVENTS, NOTIFICATIONS
from syftnotify.store.outbox.totals import add_to_totals, read_totals

_RECORDED = sa.select(EVENTS.c.key, EVENTS.c.entity, EVENTS.c.kind, EVENTS.c.occurrence).where(~is_emitted())
_UNFINISHED_KEYS = sa.select(NOTIFICATIONS.c.event_key).where(is_one_of(NOTIFICATIONS.c.state, UNFINISHED))
_UNFINISHED = CompiledStatement(_RECORDED.where(EVENTS.c.key.in_(_UNFINISHED_KEYS)))
_KEYS: sa.BindParameter[list[str]] = sa.bindparam("keys", expanding=True)

_CHANGED = CompiledStatement(sa.select(CHANGED_EVENTS.c.key))


class EventLog:
    """Implements `core.outbox.EventLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dirty: set[str] = set()
        self._dirty_lock = threading.Lock()

    def known(self, keys: Iterable[str]) -> set[str]:
        return self._keys(sa.select(EVENTS.c.key).where(EVENTS.c.key.in_(_KEYS)), keys)

    def find(self, keys: Iterable[str]) -> list[RecordedEvent]:
        query = _RECORDED.where(EVENTS.c.key.in_(_KEYS))
        with self._database.reading() as connection:
            found = (connection.execute(query, {"keys": some}) for some in chunks(list(keys)))
            return [RecordedEvent(*row) for rows in found for row in rows]

    def for_entities(self, entities: Iterable[str]) -> list[RecordedEvent]:
        query = _RECORDED.where(EVENTS.c.entity.in_(_KEYS)).order_by(EVENTS.c.seq)
        with self._database.reading() as connection:
            found = (connection.execute(query, {"keys": some}) for some in chunks(list(entities)))
            return [RecordedEvent(*row) for rows in found for row in rows]

    def all(self) -> list[RecordedEvent]:
        with self._database.reading() as connection:
            return [RecordedEvent(*row) for row in connection.execute(_RECORDED.order_by(EVENTS.c.seq))]

    def last_emitted(self, entity: str) -> EventKind | None:
        of_entity = sa.select(EVENTS.c.kind).where(EVENTS.c.entity == entity, is_emitted())
        with self._database.reading() as connection:
            kind = connection.execute(of_entity.order_by(EVENTS.c.seq.desc()).limit(1)).scalar()
        return EventKind(kind) if kind else None

    def with_unfinished(self, keys: Iterable[str]) -> set[str]:
        return self._keys(_UNFINISHED_KEYS.where(NOTIFICATIONS.c.event_key.in_(_KEYS)), keys)

    def unfinished(self) -> list[RecordedEvent]:
        with self._database.reading() as connection:
            return [RecordedEvent(*row) for row in _UNFINISHED.all(connection)]

    def unfinished_emitted(self) -> set[str]:
        query = sa.select(EVENTS.c.key).where(EVENTS.c.key.in_(_UNFINISHED_KEYS), is_emitted())
        with self._database.reading() as connection:
            return set(connection.execute(query).scalars())

    def mark_dirty(self, keys: Iterable[str]) -> None:
        with self._dirty_lock:
            self._dirty.update(keys)

    def pop_dirty(self) -> set[str]:
        with self._database.reading() as connection:
            changed = {row.key for row in _CHANGED.all(connection)}
        if changed:
            with self._database.writing() as connection:
                for some in chunks(list(changed)):
                    connection.execute(CHANGED_EVENTS.delete().where(CHANGED_EVENTS.c.key.in_(some)))
        with self._dirty_lock:
            taken, self._dirty = self._dirty | changed, set()
            return taken

    def progress(self) -> list[int]:
        with self._database.reading() as connection:
            totals = read_totals(connection)
        return [totals.get(name, 0) for name in ("events", "notifications", "unknown")]

    def has_regressed(self, progress: Sequence[int]) -> bool:
        return any(now < before for now, before in zip(self.progress(), progress, strict=False))

    def mark_uncertain(self, now: float, *, finished: Collection[str]) -> int:
        queued = NOTIFICATIONS.update().where(NOTIFICATIONS.c.state.in_((PENDING, UNKNOWN)))
        reason = "recorded as finished before the outbox lost its last changes"
        with self._database.writing() as connection:
            for some in chunks(sorted(finished)):
                update = queued.where(NOTIFICATIONS.c.event_key.in_(some))
                connection.execute(update.values(state=NotificationState.SENT.value, reason=reason))
            pending = sa.select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.state == PENDING)
            ids = list(connection.execute(pending).scalars())
            record_as_unknown(connection, ids, now)
        return len(ids)

    def _keys(self, query: sa.Select[Any], keys: Iterable[str]) -> set[str]:
        with self._database.reading() as connection:
            found = (connection.execute(query, {"keys": some}).scalars() for some in chunks(list(keys)))
            return {key for some in found for key in some}


def record_changed(connection: sa.Connection, keys: Iterable[str]) -> None:
    """Record for the worker that notifications of these events were finished by another process."""
    rows = [{"key": key} for key in keys]
    if rows:
        connection.execute(insert_new(CHANGED_EVENTS), rows)


def record_as_unknown(connection: sa.Connection, ids: Sequence[str], now: float) -> None:
    """Record for these pending notifications an attempt of unknown outcome: an unrecorded one may have sent them."""
    reason = "the outbox lost its last changes, and this may have been sent"
    count = 0
    for some in chunks(ids):
        is_pending = sa.and_(NOTIFICATIONS.c.id.in_(some), NOTIFICATIONS.c.state == PENDING)
        pending = connection.execute(sa.select(NOTIFICATIONS.c.id).where(is_pending)).scalars().all()
        if not pending:
            continue
        count += len(pending)
        connection.execute(NOTIFICATIONS.update().where(is_pending).values(state=UNKNOWN, reason=reason))
        attempt = {
            "started_at": now,
            "ended_at": now,
            "outcome": Failure.UNKNOWN.value,
            "error": reason,
            "provider_id": "",
        }
        connection.execute(ATTEMPTS.insert(), [{"notification": each, **attempt} for each in pending])
    if count:
        add_to_totals(connection, unknown=count)
