"""Variables of the mail templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Item
from syftnotify.core.text import escape, escape_block
from syftnotify.rendering.code_excerpt import limited_code
from syftnotify.rendering.fields import (
    NAME_LIMIT,
    PRIVATE_KEYS,
    TRUSTED_AUDIENCES,
    approvals_text,
    error_line,
    event_details,
    job_name,
    parse_time,
    person,
    return_code,
    time_label,
    unreadable_notice,
    unverified_suffix,
)
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import summary_line

_MAX_ROWS = 20
_TRACE_LIMIT = 20_000  # characters
# Payload keys without a row in the table of details: the message shows them elsewhere, or they may be private.
_NO_ROWS_EMITTED = PRIVATE_KEYS | {"name", "error"}
# The same for events of the tree, whose payload also has keys that only this program needs.
_NO_ROWS = _NO_ROWS_EMITTED | {
    "submitter",
    "claimed",
    "unverified",
    "owner",
    "layout",
    "status",
    "incomplete",
    "approvals_given",
    "approvals_needed",
    "submitted_at",
    "summary",
    "detail",
    "figures",
    "minutes",
}


def template_context(item: Item, links: Links) -> dict[str, Any]:
    """The variables for the template of `item`; `code` and `stderr` only for audiences that may see them."""
    payload = item.event.payload
    submitter, claimed = str(payload.get("submitter") or ""), str(payload.get("claimed") or "")
    scientist = person(submitter or claimed)
    return {
        "audience": item.audience.value,
        "status": item.status.value,
        "job_name": job_name(payload),
        "submitter": scientist + unverified_suffix(item),
        "claimed": bool(claimed and not submitter),
        "ds_email": scientist,
        "do_email": escape(str(payload.get("owner") or "")),
        "timestamp": parse_time(item.event.at),
        "zone": "UTC",
        "duration": None,
        "timed_out": item.event.kind is EventKind.JOB_TIMEOUT,
        "reason": escape(str(payload.get("reason") or ""), limit=2000),
        "return_code": return_code(payload),
        "incomplete": bool(payload.get("incomplete")),
        "awaited": approvals_text(payload) or "you",
        "unreadable": unreadable_notice(payload),
        "summary": escape(str(payload.get("summary") or "")),
        "detail": escape(str(payload.get("detail") or ""), limit=2000),
        "figures": payload.get("figures") or [],
        "line": summary_line(item),
        "rows": _rows(item),
        "severity": item.event.severity.value,
        "error": error_line(item),
        "trace": _trace(payload) if item.event.emitted else "",
        **links.of(item.event),
        **_private_variables(item),
    }


def _private_variables(item: Item) -> dict[str, Any]:
    """Code for the owner, stderr for `TRUSTED_AUDIENCES`; both may contain private data."""
    payload = item.event.payload
    variables: dict[str, Any] = {}
    if item.event.emitted:
        return variables
    if item.audience in TRUSTED_AUDIENCES:
        variables |= {"stderr": payload.get("stderr") or "", "stderr_cut": bool(payload.get("stderr_cut"))}
    if item.audience is Audience.OWNER:
        code, left_out = limited_code(payload)
        variables |= {"code": code, "code_left_out": left_out}
    return variables


def _rows(item: Item) -> list[tuple[str, str]]:
    """Label and text of the remaining details of an event, for the general template."""
    event = item.event
    rows = [] if event.emitted else [("Owner", escape(str(event.payload.get("owner") or "")))]
    hidden = _NO_ROWS_EMITTED if event.emitted else _NO_ROWS
    if event.kind is EventKind.JOB_LONG_RUNNING:  # the minutes are in its summary
        hidden = hidden | {"minutes"}
    rows += [
        (escape(str(name).replace("_", " ").capitalize(), limit=NAME_LIMIT), escape(_flat(value)))
        for name, value in event_details(event).items()
        if name not in hidden and value not in (None, "", [], {})
    ]
    return [(name, value) for name, value in [*rows[:_MAX_ROWS], ("When", time_label(event.at))] if value]


def _flat(value: Any) -> str:
    """A JSON value on one line."""
    if isinstance(value, list) and not any(isinstance(element, (list, dict)) for element in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _trace(payload: Mapping[str, Any]) -> str:
    """The end of an emitted error that has several lines, such as a traceback; otherwise empty."""
    text = str(payload.get("error") or "").strip()
    return escape_block(text[-_TRACE_LIMIT:]) if "\n" in text else ""
