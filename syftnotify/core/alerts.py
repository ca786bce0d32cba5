"""The problems that the worker reports about itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from syftnotify.core.text import plural


class Alert(StrEnum):
    """The problems that an event of the kind SYSTEM_ALERT reports.

    `summary` is one line, the text of its subject and of chats, with placeholders for values of the payload.
    """

    _value_: str
    summary: str

    def __new__(cls, value: str, summary: str = "") -> Self:
        """Make a member with the value `value`. A lookup by value does not call this."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.summary = summary
        return member

    TRANSPORT_STOPPED = "transport_stopped", '"{transport}" stopped sending'
    SIGN_IN_ENDS = "sign_in_ends", 'the Gmail sign-in of "{transport}" ends on {ends}'
    DEAD_LETTERS = "dead_letters", "{notifications} could not be delivered"
    LOST_EVENTS = "lost_events", "{events} may not have been delivered"
    RECIPIENT_LIMIT = "recipient_limit", "the daily limit of new recipients is reached"


def alert_payload(alert: Alert, values: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of an alert: `alert`, its `summary`, and `values`, of which `count` is a number of things."""
    count = values.get("count", 0)
    texts = {"notifications": plural(count, "notification"), "events": plural(count, "emitted event")}
    return {"alert": alert.value, "summary": alert.summary.format_map({**texts, **values}), **values}
