"""Conversion between rows and the records of `core.outbox`. Stored rows may be damaged, or of a newer version."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import orjson
import sqlalchemy as sa

from syftnotify.core.kinds import HIGH_KINDS, Audience, EventKind
from syftnotify.core.models import EMITTED_PREFIX, INBOX, Event, Notification, NotificationState
from syftnotify.core.outbox import ClaimedNotification
from syftnotify.core.text import escape
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS, Priority

# Errors that a damaged row, or one of a newer version, causes.
ROW_ERRORS = (ValueError, TypeError, LookupError, RecursionError)
# The text columns of a claimed row. SQLite stores bytes in them too.
TEXT_COLUMNS = (
    *("id", "entity", "recipient", "audience", "bundle", "source", "message_domain", "key", "kind", "occurrence", "at"),
)


def dump_json(value: Any) -> str:
    """`value` as JSON. File names that are not UTF-8 are in it as surrogates, which only `json` accepts."""
    try:
        return orjson.dumps(value).decode("utf-8")
    except TypeError:
        return json.dumps(value)


def _parse_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def parse_object(text: str) -> dict[str, Any]:
    """A stored JSON object; empty if it is not valid."""
    try:
        found = _parse_json(text)
    except ROW_ERRORS:
        return {}
    return found if isinstance(found, dict) else {}


def event_row(event: Event, now: float) -> dict[str, Any]:
    """The row of an event that was detected at `now`."""
    return {
        "key": event.key,
        "kind": event.kind.value,
        "entity": event.entity,
        "occurrence": event.occurrence,
        "at": event.at,
        "payload": dump_json(dict(event.payload)),
        "routing": dump_json(dict(event.routing)),
        "noticed_at": now,
    }


def notification_row(item: Notification, kind: EventKind | None, now: float) -> dict[str, Any]:
    """The row of a notification about an event of `kind`, enqueued at `now`."""
    state = NotificationState.PENDING
    if item.skipped:
        state = NotificationState.SKIPPED
    elif item.withheld:
        state = NotificationState.WITHHELD
    elif item.medium == INBOX:
        state = NotificationState.SENT
    return {
        "id": item.id,
        "event_key": item.event_key,
        "entity": item.entity,
        "medium": item.medium,
        "recipient": item.recipient,
        "audience": item.audience.value,
        "transport": item.transport,
        "route": item.route,
        "bundle": item.bundle,
        "state": state.value,
        "reason": item.skipped or item.withheld,
        "source": item.source,
        "priority": _priority(kind, item.audience).value,
        "longest_wait": max(0.0, item.not_before - now) if item.not_before else 0.0,
        "created_at": now,
        "not_before": item.not_before,
        "failures": 0,
        "refusals": 0,
        "thread": "",
        "message_domain": "",
    }


def _priority(kind: EventKind | None, audience: Audience) -> Priority:
    if kind in HIGH_KINDS:
        return Priority.HIGH
    return Priority.OTHER if audience in {Audience.SUBMITTER, Audience.JOB_REQUESTED} else Priority.OPERATION


def claimed_notification(row: Any, bundle: str) -> ClaimedNotification:
    """The record of a claimed row. Raises: one of `ROW_ERRORS`."""
    for name in TEXT_COLUMNS:
        if not isinstance(getattr(row, name), str):
            raise TypeError(f"{name} is not text")
    return ClaimedNotification(
        id=row.id,
        event=stored_event(row),
        recipient=row.recipient,
        audience=Audience(row.audience),
        transport=row.transport,
        bundle=bundle,
        created_at=row.created_at,
        first_failed_at=row.first_failed_at,
        failures=row.failures,
        temporary_failures=row.refusals,
        source=row.source,
        message_domain=row.message_domain,
        is_repeated=row.state == NotificationState.UNKNOWN,
        last_kind=EventKind(row.last_kind) if row.last_kind else None,
    )


def stored_event(row: Any) -> Event:
    """The event of a row. Raises: one of `ROW_ERRORS`."""
    payload, routing = _parse_json(row.payload), _parse_json(row.routing)
    if not isinstance(payload, dict) or not isinstance(routing, dict):
        raise TypeError("its payload is not an object")
    return Event(
        EventKind(row.kind),
        row.entity,
        row.occurrence,
        row.at,
        payload,
        routing,
        emitted=row.key.startswith(EMITTED_PREFIX),
    )


def text_column(name: str) -> sa.Column[Any]:
    """The column of one of `TEXT_COLUMNS`."""
    return NOTIFICATIONS.c[name] if name in NOTIFICATIONS.c else EVENTS.c[name]


def find_row_error(row: sa.RowMapping) -> str:
    """Why a row, read with texts as bytes and their types as `type_of_<name>`, is not valid; empty if it is."""
    if blobs := [name for name in TEXT_COLUMNS if row[f"type_of_{name}"] != b"text"]:
        return f"{blobs[0]} is not text"
    try:
        texts = {name: value.decode("utf-8") if isinstance(value, bytes) else value for name, value in row.items()}
        stored_event(SimpleNamespace(**texts))
        Audience(texts["audience"])
    except UnicodeDecodeError as error:
        return f"text that is not UTF-8 ({error.reason})"
    except ROW_ERRORS as error:
        return escape(str(error) or type(error).__name__)
    return ""
