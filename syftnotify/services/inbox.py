"""The inbox of a person: pages, marks as read, and notifications that other programs create."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from syftnotify.config.load import Settings
from syftnotify.core.errors import ConfigError, NotFoundError, UnknownKindError
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.inbox import MAX_MARKED, PAGE_SIZE, UNNAMED_PREFIX, InboxEntry, InboxFilter, entry_id, kind_name
from syftnotify.core.kinds import Audience, EventKind, find_kind, parse_kind
from syftnotify.core.models import INBOX, Event, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.payloads import checked_payload
from syftnotify.core.text import escape, iso
from syftnotify.services.cursors import make_cursor, read_cursor
from syftnotify.services.tokens import checked_user
from syftnotify.services.transports import pushing_transports
from syftnotify.sources.spool import request_scan

_ROUTE = "api"  # of notifications that other programs create
# Kinds that are about the notifier's own messages, and make no sense in an inbox.
_NOT_CREATED = frozenset({EventKind.DIGEST, EventKind.TEST, EventKind.SIGN_IN, EventKind.HEARTBEAT})
CREATABLE_KINDS = tuple(kind_name(kind) for kind in EventKind if kind not in _NOT_CREATED)
_MAX_PAYLOAD = 128 * 1024  # bytes of JSON
MAX_ENTITY = 1000  # characters of the name of what a program notifies about
_ENTITY_KEYS = ("job_id", "workflow_id")  # payload keys that name what a notification is about


@dataclass(frozen=True, slots=True)
class InboxPage:
    """A page of notifications, the newest first."""

    entries: list[InboxEntry]
    cursor: str | None  # of the next page; None: this is the last one


def parse_inbox_kind(text: str) -> str:
    """The spelling of a kind in records, for any accepted spelling.

    Raises:
        UnknownKindError: there is no such kind.
    """
    return kind_name(parse_kind(text))


def inbox_page(
    outbox: OutboxStore, user: str, conditions: InboxFilter, *, cursor: str = "", limit: int = PAGE_SIZE
) -> InboxPage:
    """A page of the notifications of `user`; `cursor` is that of the page before.

    Raises:
        ConfigError: the cursor is not one of these notifications and this filter.
    """
    scope = stable_hash("inbox", user, repr(replace(conditions, before=None)))[:16]
    if cursor:
        conditions = replace(conditions, before=int(read_cursor(cursor, scope, outbox)))
    found = outbox.inbox.page(user, conditions, limit)
    following = make_cursor(scope, str(found.last), outbox) if found.has_more else None
    return InboxPage(found.entries, following)


def find_entry(outbox: OutboxStore, user: str, entry: str) -> InboxEntry:
    """One notification of `user`.

    Raises:
        NotFoundError: there is none with this id.
    """
    found = outbox.inbox.find(user, entry)
    if found is None:
        raise NotFoundError("there is no such notification")
    return found


def mark_read(outbox: OutboxStore, user: str, ids: Sequence[str]) -> int:
    """Mark notifications of `user` as read; returns how many were named. All of them or none.

    Raises:
        ConfigError: there is no id, or more than `MAX_MARKED`.
        NotFoundError: one of them is not a notification of `user`.
    """
    if not 1 <= len(ids) <= MAX_MARKED:
        raise ConfigError(f"expected 1 to {MAX_MARKED} ids, got {len(ids)}")
    missing = outbox.inbox.mark_read(user, ids, time.time())
    if missing:
        raise NotFoundError(f"not a notification of yours: {escape(missing[0], limit=60)}")
    return len(set(ids))


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification that another program creates."""

    user: str
    kind: str
    payload: Mapping[str, Any]
    occurrence: str = ""  # the same one creates the same notification; empty: a new one


def create_notification(outbox: OutboxStore, new: NewNotification, settings: Settings | None = None) -> InboxEntry:
    """Store a notification in the inbox of `new.user`, and queue it for the transports of `settings` that push it.

    Raises:
        UnknownKindError: there is no such kind, or none for an inbox.
        ConfigError: the user cannot be the id of a person, or the payload is not one that can be stored.
    """
    user, kind, now = checked_user(new.user), _creatable(new.kind), time.time()
    try:
        payload = checked_payload(new.payload)
    except ValueError as error:
        raise ConfigError(f"payload: {error}") from None
    if len(json.dumps(payload)) > _MAX_PAYLOAD:
        raise ConfigError(f"payload: expected at most {_MAX_PAYLOAD // 1024} KiB of JSON")
    occurrence = new.occurrence or uuid.uuid4().hex
    named = (payload.get(key) for key in _ENTITY_KEYS)
    is_name = (name for name in named if isinstance(name, str) and 0 < len(name) <= MAX_ENTITY)
    entity = next(is_name, f"{UNNAMED_PREFIX}{occurrence[:32]}")
    event = Event(kind, entity, occurrence, iso(now, exact=True), payload, {"as_given": True}, emitted=True)
    pushing = [] if settings is None else pushing_transports(settings.config)
    places = [(INBOX, INBOX), *((transport.name, transport.medium) for transport in pushing)]
    items = [
        Notification(event.key, entity, user, Audience.RECIPIENT, name, medium, route=_ROUTE, for_programs=True)
        for name, medium in places
    ]
    outbox.enqueue([event], items, now)
    if settings is not None and pushing:
        request_scan(settings.home)
    return find_entry(outbox, user, entry_id(items[0].id))


def store_test(outbox: OutboxStore, owner: str, to: str = "") -> str:
    """Store a test notification in the inbox of `to`, or of the owner; returns whose inbox it is.

    Raises:
        ConfigError: `to` cannot be the id of a person.
    """
    user, now = checked_user(to or owner), time.time()
    entity = f"test/{uuid.uuid4()}"
    event = Event(EventKind.TEST, entity, at=iso(now, exact=True), payload={"owner": owner, "transport": INBOX})
    item = Notification(event.key, entity, user, Audience.OWNER, INBOX, INBOX, route=_ROUTE, for_programs=True)
    outbox.enqueue([event], [item], now)
    return user


def _creatable(text: str) -> EventKind:
    kind = find_kind(text)
    if kind is None or kind in _NOT_CREATED:
        parse_kind(text, emitted=True)  # raises, with a suggestion
        raise UnknownKindError(f"{escape(text, limit=60)!r} cannot be created", hint="use a kind of jobs or workflows")
    return kind
