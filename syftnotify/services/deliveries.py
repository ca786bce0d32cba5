"""Deliveries: notifications with their attempts, for operators."""

from __future__ import annotations

from dataclasses import dataclass, replace

from syftnotify.core.errors import NotFoundError
from syftnotify.core.history import AttemptRecord, NotificationRecord
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.cursors import make_cursor, read_cursor
from syftnotify.services.dead_letters import list_dead_letters
from syftnotify.services.history import HistoryFilter, find_latest
from syftnotify.system.paths import Home


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of notifications, the newest first."""

    records: list[NotificationRecord]
    cursor: str | None  # of the next page; None: this is the last one


def delivery_page(outbox: OutboxStore, conditions: HistoryFilter, *, cursor: str = "") -> DeliveryPage:
    """A page of the notifications that match; `conditions.limit` is its size.

    Raises:
        ConfigError: the cursor is not one of this filter.
    """
    size = conditions.limit or 50
    scope = stable_hash("deliveries", repr(replace(conditions, limit=None)))[:16]
    before = read_cursor(cursor, scope, outbox) if cursor else ""
    found = find_latest(outbox, replace(conditions, limit=size + 1), before=before)
    records = found[:size]
    return DeliveryPage(records, make_cursor(scope, records[-1].id, outbox) if len(found) > size else None)


@dataclass(frozen=True, slots=True)
class WorklistPage:
    """A page of dead letters and held notifications, the oldest first."""

    records: list[NotificationRecord]
    cursor: str | None  # of the next page; None: this is the last one
    warning: str  # as in `DeadLetterList`


def worklist_page(home: Home, outbox: OutboxStore, *, cursor: str = "", limit: int) -> WorklistPage:
    """A page of what waits for a decision. Raises: ConfigError, the cursor is not one of this list."""
    scope = "worklist"
    found = list_dead_letters(home, outbox)
    after = read_cursor(cursor, scope, outbox).partition(" ") if cursor else ("0", "", "")
    ordered = sorted(found.records, key=_place)
    rest = [record for record in ordered if _place(record) > (float(after[0]), after[2])]
    page = rest[:limit]
    has_more = len(rest) > limit
    following = make_cursor(scope, f"{page[-1].created_at!r} {page[-1].id}", outbox) if has_more else None
    return WorklistPage(page, following, found.warning)


def _place(record: NotificationRecord) -> tuple[float, str]:
    return record.created_at, record.id


def find_delivery(outbox: OutboxStore, notification_id: str) -> tuple[NotificationRecord, list[AttemptRecord]]:
    """A notification and its attempts, oldest first. Raises: NotFoundError, there is none with this id."""
    found = outbox.history.find(notification_id)
    if found is None:
        raise NotFoundError("there is no such notification")
    return found, outbox.history.attempts(notification_id)
