"""The inbox of a person: notifications that are stored and read through the API, instead of being sent.

The records are those of `docs/api.md`; the kinds are spelled as clients of such an API expect them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event
from syftnotify.core.payloads import MAIL_KEYS, PRIVATE_KEYS, TRUSTED_AUDIENCES, error_text, storable
from syftnotify.core.text import iso, timestamp

# The entity of notifications that programs create without naming what they are about; an id follows.
UNNAMED_PREFIX = "notification/"
PAGE_SIZE = 50  # maximum number of notifications on one page
MAX_MARKED = 100  # ids in one request to mark notifications as read

_SPELLINGS = {EventKind.JOB_CANCELLED: "JOB_CANCELED"}
_STATES = {
    EventKind.JOB_STARTED: "RUNNING",
    EventKind.JOB_COMPLETED: "COMPLETED",
    EventKind.JOB_FAILED: "FAILED",
    EventKind.JOB_TIMEOUT: "FAILED",
    EventKind.JOB_CANCELLED: "CANCELED",
}


def kind_name(kind: EventKind) -> str:
    """The kind as records spell it: `JOB_FAILED`, `JOB_CANCELED`."""
    return _SPELLINGS.get(kind, kind.value.upper())


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One notification of a person."""

    id: str  # UUID
    recipient: str  # address, or another id of a person, in lower case
    kind: str  # see `kind_name`
    entity: str
    workflow: str  # id of the workflow, or of the job of the tree
    workflow_name: str
    event_key: str  # of the event that it is about
    payload: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0  # seconds since 1970
    read_at: float | None = None
    updated_at: float = 0.0
    seq: int = 0  # number in the order of storing; never reused
    position: int = 0  # in the order of streams: `Inbox.after`


@dataclass(frozen=True, slots=True)
class InboxFilter:
    """Conditions for the notifications of a person; all that are set must hold."""

    unread: bool = False
    kind: str = ""
    entity: str = ""
    workflow: str = ""  # id or name
    since: float | None = None  # seconds since 1970
    before: int | None = None  # `InboxEntry.seq`; only older ones


@dataclass(frozen=True, slots=True)
class InboxBatch:
    """Some notifications; those whose stored row is damaged are left out."""

    entries: list[InboxEntry]
    last: int | None  # `seq` of the last row that was read, also of a damaged one; None: there was none
    position: int | None  # `InboxEntry.position` of that row
    has_more: bool  # whether more rows follow


class Inbox(Protocol):
    """The notifications of all persons."""

    def page(self, recipient: str, conditions: InboxFilter, limit: int) -> InboxBatch:
        """The latest notifications of `recipient` that match, the newest first."""

    def find(self, recipient: str, entry_id: str) -> InboxEntry | None:
        """One notification of `recipient`."""

    def counts(self, recipient: str) -> tuple[int, int]:
        """The number of all notifications of `recipient`, and of the unread ones."""

    def count_unread(self, recipient: str, limit: int) -> int:
        """The number of unread notifications of `recipient`, at most `limit`."""

    def mark_read(self, recipient: str, ids: Sequence[str], now: float) -> list[str]:
        """Mark notifications as read at `now`, unless they are; all of them or none.

        Mail to `recipient` that waits and is about the same events, and reminders about the same entities, are skipped.

        Returns:
            The ids that are no notifications of `recipient`. If there are any, nothing is changed.
        """

    def after(self, position: int, limit: int, recipient: str = "") -> InboxBatch:
        """The next notifications after a position, of one or of all persons, in the order of storing."""

    def position(self) -> int | None:
        """The last position; None if nothing is stored."""

    def latest(self, recipient: str) -> InboxEntry | None:
        """The latest notification of `recipient` before which none will be stored any more; a stream may begin there.

        A page may already have later ones.
        """


def entry_id(notification_id: str) -> str:
    """The id of the entry of a notification in the outbox: a UUID that is derived from its id."""
    return str(uuid.UUID(hex=notification_id[:32], version=5))


def entry_of(event: Event, notification_id: str, recipient: str, audience: Audience, now: float) -> InboxEntry:
    """The notification about `event` for `recipient`.

    `notification_id` is its id in the outbox.
    """
    payload = storable(inbox_payload(event, audience))  # names in the tree may be bytes that are not text
    return InboxEntry(
        id=entry_id(notification_id),
        recipient=recipient,
        kind=kind_name(event.kind),
        entity=storable(event.entity),
        workflow=str(payload.get("workflow_id") or ""),
        workflow_name=str(payload.get("workflow_name") or ""),
        event_key=event.key,
        payload=payload,
        created_at=now,
        updated_at=now,
    )


def pushed_object(entry: InboxEntry) -> dict[str, Any]:
    """The JSON object that live streams and channels send of a notification: shorter than the record."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "payload": dict(entry.payload),
        "created_at": iso(entry.created_at, exact=True),
    }


def _key_of_entity(kind: EventKind) -> str:
    if kind.is_about_job:
        return "job_id"
    return "workflow_id" if kind.value.startswith("workflow") else "entity"


def inbox_payload(event: Event, audience: Audience) -> dict[str, Any]:
    """The payload of the record. An emitted event has its own and what it is about; one of the tree gets its keys."""
    payload = dict(event.payload)
    if event.routing.get("as_given"):
        return payload
    if event.emitted:
        return {_key_of_entity(event.kind): event.entity, **payload}
    hidden = PRIVATE_KEYS | MAIL_KEYS
    kept = {key: value for key, value in payload.items() if key not in hidden and value not in ("", None, {}, [])}
    if not event.kind.is_about_job:
        return kept
    added: dict[str, Any] = {
        "job_id": event.entity,
        "workflow_id": event.entity,
        "workflow_name": str(payload.get("name") or ""),
    }
    if event.kind in _STATES:
        added["status"] = _STATES[event.kind]
    times = payload.get("times")
    if isinstance(times, Mapping) and event.kind.spec.ends_run:
        start, end = (timestamp(str(times.get(name) or "")) for name in ("approved", "ended"))
        if start is not None and end is not None and end >= start:
            added["duration_seconds"] = end - start
    if audience in TRUSTED_AUDIENCES and (error := error_text(payload)):
        added["error"] = error
    return {**kept, **added}
