"""Make dead letters of queued rows that cannot be read, so that they block no other notification."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from syftnotify.core.models import NotificationState
from syftnotify.store.outbox.conditions import PENDING, UNKNOWN
from syftnotify.store.outbox.rows import TEXT_COLUMNS, find_row_error, text_column
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS
from syftnotify.store.outbox.sqlite_database import text_as

log = logging.getLogger(__name__)


def quarantine_damaged_rows(connection: sa.Connection, transport: str, now: float) -> int:
    """Make dead letters of the queued rows of `transport` that cannot be read; returns how many."""
    query = (
        sa.select(
            NOTIFICATIONS.c.seq,
            EVENTS.c.payload,
            EVENTS.c.routing,
            *map(text_column, TEXT_COLUMNS),
            *(sa.func.typeof(text_column(name)).label(f"type_of_{name}") for name in TEXT_COLUMNS),
        )
        .join(EVENTS, EVENTS.c.key == NOTIFICATIONS.c.event_key)
        .where(NOTIFICATIONS.c.transport == transport, NOTIFICATIONS.c.state.in_((PENDING, UNKNOWN)))
    )
    with text_as(connection, bytes):
        rows = connection.execute(query).mappings().all()
    errors = {row["seq"]: error for row in rows if (error := find_row_error(row))}
    for seq, error in errors.items():
        log.error("notification %d of transport %s cannot be read (%s); it is now a dead letter", seq, transport, error)
        connection.execute(
            NOTIFICATIONS.update()
            .where(NOTIFICATIONS.c.seq == seq)
            .values(state=NotificationState.DEAD.value, reason=f"quarantined: {error}", first_failed_at=now)
        )
    return len(errors)
