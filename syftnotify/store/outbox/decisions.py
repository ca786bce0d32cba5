"""The decisions that wait for the owner, in the database of the outbox."""

from __future__ import annotations

import logging
from collections.abc import Collection
from itertools import islice
from typing import Any

import sqlalchemy as sa

from syftnotify.core.decisions import PendingDecision
from syftnotify.core.kinds import EventKind
from syftnotify.core.text import escape
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import chunks
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import Upsert
from syftnotify.store.outbox.rows import dump_json, parse_object
from syftnotify.store.outbox.schema import PENDING_DECISIONS

log = logging.getLogger(__name__)

_UPSERT = Upsert(PENDING_DECISIONS, ["entity"], lambda new: {name: new[name] for name in ("kind", "since", "payload")})

_REQUESTS_SINCE = CompiledStatement(
    sa.select(PENDING_DECISIONS.c.entity, PENDING_DECISIONS.c.since).where(
        PENDING_DECISIONS.c.kind == EventKind.PEER_REQUESTED.value
    )
)


class PendingDecisionStore:
    """Implements `core.decisions.PendingDecisionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(
        self, changed: Collection[PendingDecision], removed: Collection[str] = (), *, replaces: bool = False
    ) -> None:
        with self._database.writing() as connection:
            # Peer requests have no time in the tree: the one at which they were first seen is kept.
            seen = {row.entity: row.since for row in _REQUESTS_SINCE.all(connection)} if replaces else {}
            rows = [
                {
                    "entity": each.entity,
                    "kind": each.kind.value,
                    "since": min(each.since, seen.get(each.entity, each.since)),
                    "payload": dump_json(dict(each.payload)),
                }
                for each in changed
            ]
            if replaces:
                connection.execute(PENDING_DECISIONS.delete())
            for some in chunks(list(removed)):
                connection.execute(PENDING_DECISIONS.delete().where(PENDING_DECISIONS.c.entity.in_(some)))
            if rows:
                _UPSERT.execute(connection, rows)

    def page(self, limit: int, after: tuple[float, str] = (0.0, "")) -> list[PendingDecision]:
        place = sa.tuple_(PENDING_DECISIONS.c.since, PENDING_DECISIONS.c.entity)
        query = sa.select(PENDING_DECISIONS).where(place > sa.tuple_(*map(sa.literal, after)))
        query = query.order_by(PENDING_DECISIONS.c.since, PENDING_DECISIONS.c.entity)
        with self._database.reading() as connection, connection.execute(query) as rows:
            # The limit does not count damaged rows: otherwise nothing after them would be shown.
            return list(islice((found for row in rows if (found := _decision(row)) is not None), limit))

    def find(self, entity: str) -> PendingDecision | None:
        query = sa.select(PENDING_DECISIONS).where(PENDING_DECISIONS.c.entity == entity)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _decision(row)

    def count(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(PENDING_DECISIONS)).scalar_one())


def _decision(row: Any) -> PendingDecision | None:
    """The decision of a row; None, with a log entry, if the row is damaged."""
    try:
        return PendingDecision(row.entity, EventKind(row.kind), float(row.since), parse_object(row.payload))
    except (ValueError, TypeError) as error:
        log.error("the pending decision about %s is not valid (%s) and is left out", escape(str(row.entity)), error)
        return None
