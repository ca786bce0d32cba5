"""Notifications that are not retried any more: listing, requeueing, acknowledgement, reporting."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from syftnotify.core.history import NotificationRecord
from syftnotify.core.models import NotificationState
from syftnotify.store.outbox.conditions import PENDING, UNKNOWN, WORKER_KIND_NAMES, chunks, place_of
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.history import find_notifications
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS

_DEAD = NotificationState.DEAD.value


class DeadLetters:
    """Implements `core.outbox.DeadLetters`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[NotificationRecord]:
        return find_notifications(self._database, NOTIFICATIONS.c.state.in_((_DEAD, UNKNOWN)))[::-1]

    def states(self, id_prefix: str) -> dict[str, str]:
        is_one = NOTIFICATIONS.c.id.startswith(id_prefix, autoescape=True)
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(NOTIFICATIONS.c.id, NOTIFICATIONS.c.state).where(is_one))
            return {row.id: row.state for row in rows}

    def requeue(self, ids: Iterable[str]) -> int:
        bundle = NOTIFICATIONS.c.bundle
        # Without the id of its message, a dead letter can be claimed in a new digest.
        without_id = sa.func.substr(bundle, 1, place_of("#", bundle + "#") - 1)
        values = {
            "bundle": sa.case((NOTIFICATIONS.c.state == _DEAD, without_id), else_=bundle),
            "state": PENDING,
            "not_before": 0.0,
            "failures": 0,
            "refusals": 0,
            "first_failed_at": None,
            "acknowledged_at": None,
            "reported_at": None,
        }
        count = 0
        with self._database.writing() as connection:
            wanted = set(ids)
            wanted |= _rest_of_digests(connection, wanted)
            for some in chunks(sorted(wanted)):
                is_wanted = sa.and_(NOTIFICATIONS.c.id.in_(some), NOTIFICATIONS.c.state.in_((_DEAD, UNKNOWN)))
                count += connection.execute(NOTIFICATIONS.update().where(is_wanted).values(values)).rowcount
        return count

    def acknowledge(self, now: float, ids: Iterable[str] | None = None) -> int:
        unacknowledged = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.state == _DEAD, NOTIFICATIONS.c.acknowledged_at.is_(None)
        )
        count = 0
        with self._database.writing() as connection:
            for some in [None] if ids is None else chunks(sorted(ids)):
                update = unacknowledged if some is None else unacknowledged.where(NOTIFICATIONS.c.id.in_(some))
                count += connection.execute(update.values(acknowledged_at=now)).rowcount
        return count

    def unreported(self) -> list[NotificationRecord]:
        is_new = sa.and_(NOTIFICATIONS.c.reported_at.is_(None), NOTIFICATIONS.c.acknowledged_at.is_(None))
        is_other = EVENTS.c.kind.not_in(WORKER_KIND_NAMES)
        return find_notifications(self._database, NOTIFICATIONS.c.state == _DEAD, is_new, is_other)[::-1]

    def mark_reported(self, ids: Iterable[str], now: float) -> None:
        with self._database.writing() as connection:
            for some in chunks(sorted(ids)):
                connection.execute(NOTIFICATIONS.update().where(NOTIFICATIONS.c.id.in_(some)).values(reported_at=now))


def _rest_of_digests(connection: sa.Connection, ids: Iterable[str]) -> set[str]:
    """The other notifications of unknown outcome in the same digests: a digest keeps its id only as a whole."""
    rest: set[str] = set()
    for some in chunks(sorted(ids)):
        bundles = sa.select(NOTIFICATIONS.c.bundle).where(
            NOTIFICATIONS.c.id.in_(some), NOTIFICATIONS.c.state == UNKNOWN, NOTIFICATIONS.c.bundle != ""
        )
        query = sa.select(NOTIFICATIONS.c.id).where(
            NOTIFICATIONS.c.bundle.in_(bundles), NOTIFICATIONS.c.state == UNKNOWN
        )
        rest.update(connection.execute(query).scalars())
    return rest
