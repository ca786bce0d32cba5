"""Silences in the database of the outbox."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from syftnotify.core.kinds import EventKind, find_kind
from syftnotify.core.matching import Match
from syftnotify.core.silences import Silence, is_change
from syftnotify.core.text import escape
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import without_index
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS, SILENCES, SKIPPED

log = logging.getLogger(__name__)

_ALL = CompiledStatement(sa.select(SILENCES).order_by(SILENCES.c.created_at, SILENCES.c.id))
_CHANGES = [kind.value for kind in EventKind if is_change(kind)]
_CHANGE = (
    sa.select(EVENTS.c.seq)
    .where(
        EVENTS.c.entity == sa.bindparam("name"),
        EVENTS.c.noticed_at > sa.bindparam("since"),
        without_index(EVENTS.c.kind).in_(_CHANGES),
    )
    .limit(1)
)
_COUNT_SUPPRESSED = sa.select(sa.func.count()).where(
    sa.text(f"notifications.{SKIPPED}"), NOTIFICATIONS.c.reason == sa.bindparam("text")
)


class SilenceStore:
    """Implements `core.silences.SilenceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, silence: Silence) -> None:
        row = {
            "id": silence.id,
            "author": silence.author,
            "reason": silence.reason,
            "kinds": json.dumps(None if silence.kinds is None else sorted(silence.kinds)),
            "match": json.dumps(asdict(silence.match)),
            "starts_at": silence.starts_at,
            "ends_at": silence.ends_at,
            "created_at": silence.created_at,
            "expired_at": silence.expired_at,
        }
        with self._database.writing() as connection:
            connection.execute(SILENCES.insert(), row)

    def all(self) -> list[Silence]:
        with self._database.reading() as connection:
            return [found for row in _ALL.all(connection) if (found := _silence(row)) is not None]

    def expire(self, silence_id: str, now: float) -> None:
        is_running = sa.and_(SILENCES.c.id == silence_id, SILENCES.c.expired_at.is_(None))
        with self._database.writing() as connection:
            connection.execute(SILENCES.update().where(is_running).values(expired_at=now))

    def count_suppressed(self, silence: Silence) -> int:
        with self._database.reading() as connection:
            return int(connection.execute(_COUNT_SUPPRESSED, {"text": silence.text}).scalar_one())

    def has_changed(self, entity: str, since: float) -> bool:
        with self._database.reading() as connection:
            return connection.execute(_CHANGE, {"name": entity, "since": since}).first() is not None


def _silence(row: Any) -> Silence | None:
    """The silence of a row; None, with a log entry, if it is damaged: it silences nothing then."""
    try:
        kinds = json.loads(row.kinds)
        return Silence(
            row.id,
            row.author,
            row.reason,
            _match(json.loads(row.match)),
            None if kinds is None else frozenset(kind for name in kinds if (kind := find_kind(name)) is not None),
            float(row.starts_at),
            None if row.ends_at is None else float(row.ends_at),
            float(row.created_at),
            None if row.expired_at is None else float(row.expired_at),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.error("silence %s is not valid (%s) and has no effect", escape(str(row.id)), error)
        return None


def _match(stored: dict[str, Any]) -> Match:
    def texts(name: str) -> tuple[str, ...]:
        return tuple(map(str, stored[name]))

    return Match(texts("submitter"), texts("owner"), texts("job"), texts("tags"), texts("severity"))
