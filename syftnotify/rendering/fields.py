"""Fields of an event as text that is safe to show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syftnotify.core.identifiers import is_address
from syftnotify.core.kinds import Audience
from syftnotify.core.models import Event, Item
from syftnotify.core.payloads import TRUSTED_AUDIENCES, error_text
from syftnotify.core.text import escape
from syftnotify.rendering.filters import format_datetime

NAME_LIMIT = 120  # characters
UNNAMED = "sender unknown"
_UNVERIFIED = " (unverified: no peer record)"


def job_name(payload: Mapping[str, Any]) -> str:
    """The job's name, safe between quotation marks; empty if there is none."""
    return escape(str(payload.get("name") or ""), limit=NAME_LIMIT, quoted=True)


def subject_name(event: Event) -> str:
    """The name of the job or workflow of the event, otherwise its entity id; safe between quotation marks."""
    workflow = escape(str(event.payload.get("workflow_name") or ""), limit=NAME_LIMIT, quoted=True)
    return job_name(event.payload) or workflow or escape(event.entity, limit=NAME_LIMIT, quoted=True)


def event_user(event: Event) -> Any:
    """The user whose job or reservation the event is about, unescaped; the option `--user` precedes the payload.

    The payload of an emitted event may contain a value of any type.
    """
    payload = event.payload
    return event.routing.get("user") or payload.get("submitter") or payload.get("claimed") or payload.get("user")


def event_details(event: Event) -> dict[str, Any]:
    """The payload, with `user` and `tags` of the routing unless the payload has its own."""
    return {**{name: event.routing[name] for name in ("user", "tags") if name in event.routing}, **event.payload}


def person(name: str) -> str:
    """A mail address unchanged; any other name in quotation marks, so that it cannot look like text of the message."""
    return name if not name or is_address(name) else f'"{escape(name, limit=NAME_LIMIT, quoted=True)}"'


def submitter(event: Event) -> str:
    """`event_user` as `person` shows it, or `UNNAMED`."""
    return person(str(event_user(event) or "")) or UNNAMED


def unverified_suffix(item: Item) -> str:
    """The text after a submitter without a peer record; empty for others, and in messages to the submitter."""
    is_shown = item.event.payload.get("unverified") and item.audience is not Audience.SUBMITTER
    return _UNVERIFIED if is_shown else ""


def return_code(payload: Mapping[str, Any]) -> int | str | None:
    """The return code, if any. An emitted event may contain a value of any type, which is returned as escaped text."""
    code = payload.get("return_code")
    return code if code is None or isinstance(code, int) else escape(str(code), limit=NAME_LIMIT)


def unreadable_notice(payload: Mapping[str, Any]) -> str:
    """A sentence that says why a job of the tree cannot be read; empty if it can."""
    reason = escape(str(payload.get("unreadable") or ""))
    what = "state" if reason.startswith("state.yaml") else "configuration"
    return f"Its {what} cannot be read ({reason})." if reason else ""


def error_line(item: Item) -> str:
    """The error on one line; empty if there is none, or if the audience must not see the output of a run."""
    if item.audience not in TRUSTED_AUDIENCES and not item.event.emitted:
        return ""
    return error_text(item.event.payload)


def parse_time(text: str) -> datetime | str:
    """An ISO 8601 time in UTC; any other text escaped."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return escape(text)


def time_label(text: str) -> str:
    """`January 15, 2024 at 03:30 PM UTC` for an ISO 8601 time; any other text escaped."""
    moment = parse_time(text)
    return f"{format_datetime(moment)} UTC" if isinstance(moment, datetime) else moment


def approvals_text(payload: Mapping[str, Any]) -> str:
    """`your approval, 1 of 3 given` for a job that several owners have to approve; empty for others."""
    given, needed = payload.get("approvals_given"), payload.get("approvals_needed")
    return f"your approval, {given} of {needed} given" if isinstance(given, int) and isinstance(needed, int) else ""
