"""The notifications of persons, which are read and never sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from syftnotify.core.inbox import InboxEntry, InboxFilter
from syftnotify.core.text import escape
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import chunks
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.rows import dump_json
from syftnotify.store.outbox.schema import INBOX_ENTRIES as ENTRIES

log = logging.getLogger(__name__)

_INSERT = CompiledStatement(sqlite.insert(ENTRIES).on_conflict_do_nothing())
_COUNT = sa.select(sa.func.count()).where(ENTRIES.c.recipient == sa.bindparam("person"))
_COUNT_UNREAD = _COUNT.where(ENTRIES.c.read_at.is_(None))
_AFTER = (
    sa.select(ENTRIES)
    .where(ENTRIES.c.seq > sa.bindparam("position"))
    .order_by(ENTRIES.c.seq)
    .limit(sa.bindparam("most"))
)
_LAST = sa.select(sa.func.max(ENTRIES.c.seq))


class Inbox:
    """Implements `core.inbox.Inbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, recipient: str, conditions: InboxFilter, limit: int) -> list[InboxEntry]:
        query = (
            sa.select(ENTRIES)
            .where(ENTRIES.c.recipient == recipient, *_conditions(conditions))
            .order_by(ENTRIES.c.seq.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return _entries(connection.execute(query))

    def find(self, recipient: str, entry_id: str) -> InboxEntry | None:
        query = sa.select(ENTRIES).where(ENTRIES.c.id == entry_id, ENTRIES.c.recipient == recipient)
        with self._database.reading() as connection:
            found = _entries(connection.execute(query))
        return found[0] if found else None

    def counts(self, recipient: str) -> tuple[int, int]:
        values = {"person": recipient}
        with self._database.reading() as connection:
            total = connection.execute(_COUNT, values).scalar_one()
            return int(total), int(connection.execute(_COUNT_UNREAD, values).scalar_one())

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
                    connection.execute(ENTRIES.update().where(unread).values(read_at=now, updated_at=now))
        return missing

    def after(self, position: int, limit: int, recipient: str = "") -> list[InboxEntry]:
        query = _AFTER.where(ENTRIES.c.recipient == recipient) if recipient else _AFTER
        with self._database.reading() as connection:
            return _entries(connection.execute(query, {"position": position, "most": limit}))

    def position(self) -> int | None:
        with self._database.reading() as connection:
            found = connection.execute(_LAST).scalar()
        return None if found is None else int(found)


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
            "payload": dump_json(dict(entry.payload)),
            "created_at": entry.created_at,
            "updated_at": entry.updated_at,
        }
        for entry in entries
    ]
    if rows:
        _INSERT.execute(connection, rows)


def _conditions(conditions: InboxFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if conditions.unread:
        found.append(ENTRIES.c.read_at.is_(None))
    if conditions.kind:
        found.append(ENTRIES.c.kind == conditions.kind)
    if conditions.entity:
        found.append(ENTRIES.c.entity == conditions.entity)
    if conditions.workflow:
        found.append(sa.or_(ENTRIES.c.workflow == conditions.workflow, ENTRIES.c.workflow_name == conditions.workflow))
    if conditions.since is not None:
        found.append(ENTRIES.c.created_at >= conditions.since)
    if conditions.before is not None:
        found.append(ENTRIES.c.seq < conditions.before)
    return found


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
            payload,
            float(row.created_at),
            None if row.read_at is None else float(row.read_at),
            float(row.updated_at),
            row.seq,
        )
    except (ValueError, TypeError, RecursionError) as error:
        log.error("notification %s of the inbox is not valid (%s) and is left out", escape(str(row.id)), error)
        return None
