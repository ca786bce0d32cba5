"""Notifications as text and as JSON, for several commands."""

from __future__ import annotations

import time

from syftnotify.core.history import NotificationRecord
from syftnotify.core.models import NotificationState
from syftnotify.core.text import escape, iso, local_time, plural, short_name, short_time
from syftnotify.services.dead_letters import SHORT_ID
from syftnotify.system import worker_lock
from syftnotify.system.paths import Home

INDENT = " " * (SHORT_ID + 2)  # of lines below `title`, which begins with an id


_STORED = "stored"  # the state SENT of what is in an inbox: it was delivered by being stored
HEADER = ("ID", "TIME", "STATE", "EVENT", "RECIPIENT", "ABOUT")  # of `row`


def notification_object(record: NotificationRecord) -> dict[str, object]:
    """The JSON object of a notification."""
    return {
        "id": record.id,
        "state": record.state,
        "event": record.kind,
        "entity": record.entity,
        "recipient": record.recipient,
        "audience": record.audience,
        "transport": record.transport,
        "route": record.route,
        "reason": record.reason,
        "created_at": iso(record.created_at),
        "tried_at": iso(record.tried_at) if record.tried_at is not None else None,
        "not_before": iso(record.not_before) if record.not_before else None,
        "attempts": record.attempts,
        "acknowledged_at": iso(record.acknowledged_at) if record.acknowledged_at is not None else None,
        "may_have_arrived": record.may_have_arrived,
    }


def title(record: NotificationRecord) -> str:
    """Id, event, recipient and transport on one line."""
    transport = f" through {escape(record.transport)}" if record.transport else ""
    return f"{record.id[:SHORT_ID]}  {record.kind} to {escape(record.recipient)}{transport}"


def row(record: NotificationRecord, *, utc: bool) -> tuple[str, ...]:
    """The columns of a notification: id, time, outcome, event, recipient, and what it is about with any reason."""
    is_sent = record.state == NotificationState.SENT
    moment = record.tried_at if record.tried_at is not None else record.created_at
    about = short_name(record.entity)
    uncertain = "may have arrived" if record.may_have_arrived else ""
    return (
        record.id[:SHORT_ID],
        short_time(moment, time.time(), utc=utc),
        _STORED if is_sent and not record.attempts else record.state,
        record.kind,
        escape(record.recipient),
        ": ".join(filter(None, [about, *([] if is_sent else [uncertain, escape(record.reason, limit=200)])])),
    )


def outcome(record: NotificationRecord) -> str:
    """The state of a notification with the reason for it."""
    attempts = plural(record.attempts, "attempt")
    tried = f"{local_time(record.tried_at)}, {attempts}" if record.tried_at else ""
    reason = escape(record.reason, limit=200)
    match record.state:
        case NotificationState.SENT:
            return f"sent {tried}" if record.attempts else f"{_STORED} {local_time(record.created_at)}"
        case NotificationState.SKIPPED:
            return f"not sent: {reason}"
        case NotificationState.WITHHELD:
            return f"withheld: {reason}"
        case NotificationState.DEAD:
            return f"dead {tried}: {reason}{'; may have arrived' if record.may_have_arrived else ''}"
        case NotificationState.UNKNOWN:
            return f"may have arrived {tried}: {reason}"
    label = "sending" if record.state == NotificationState.SENDING else "pending"
    earliest = f", not before {local_time(record.not_before)}" if record.not_before > time.time() else ""
    return f"{label}{earliest}{f': {reason}' if reason else ''}"


def nothing_yet(home: Home) -> str:
    """The line for a home without notifications, with the next command if no worker runs."""
    if worker_lock.is_held(home):
        return f"no notifications yet in {home.root}"
    command = "`notify start`" if home.config.exists() else "`notify init`"
    return f"no notifications yet in {home.root}; run {command}"
