"""What of a job's config.yaml and state.yaml may a message contain? Few keys, each checked for its type."""

from __future__ import annotations

from datetime import date
from typing import Any

_MAX_FILES = 1000
_MOST_REQUESTS = 20  # tags or recipients that one job may name
_LONGEST_REQUEST = 300  # characters; an address has at most 254, so what is cut is none


def time_of(value: Any) -> str:
    """A time as the tree has it, as text: it names an occurrence, so it must never be reworded."""
    if isinstance(value, date):
        return value.isoformat()
    # Anything else is no time, and may be spelled differently by the next process.
    return short(value, 64) if isinstance(value, (str, int, float)) else ""


def short(value: Any, limit: int) -> str:
    """`value` as text, or nothing where it has no sensible one: a number of thousands of digits cannot be written."""
    try:
        return str(value)[:limit]
    except (ValueError, RecursionError):
        return ""


def details_of(config: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """What a message may contain; a value of the wrong type counts as missing."""
    files = config.get("files")
    names = [name for name in files if isinstance(name, str)][:_MAX_FILES] if isinstance(files, list) else []
    code = state.get("return_code")
    reason = state.get("rejection_reason") or state.get("review_reason")
    entry = config.get("entrypoint") or config.get("entry_point")
    path = config.get("code_path")
    return {
        "files": names,
        "entrypoint": entry if isinstance(entry, str) else "",
        "code_path": path if isinstance(path, str) else "",
        "type": short(config.get("type") or "", 20),
        "return_code": code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None,
        "reason": reason[:2000] if isinstance(reason, str) else "",
        "incomplete": False,
        **_requests_of(config.get("headers")),
    }


def _requests_of(headers: Any) -> dict[str, Any]:
    """The `tags`, `notify` and `alerts` in a job's headers; whether they are honoured is decided by `route`."""
    if not isinstance(headers, dict):
        return {}
    notify, alerts = headers.get("notify"), headers.get("alerts")
    notify = notify if isinstance(notify, dict) else {}
    alerts = alerts if isinstance(alerts, dict) else None
    found: dict[str, Any] = {}
    if tags := _texts(notify.get("tags")):
        found["tags"] = tags
    if emails := _texts(notify.get("emails")):
        found["notify"] = {"emails": emails, "on": _texts(notify.get("on"))}
    if alerts is not None:
        minutes = alerts.get("on_long_run_minutes")
        is_number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool) and 0 < minutes < 1e6
        found["alerts"] = {
            "on_failure": alerts.get("on_failure") is not False,
            "on_success": alerts.get("on_success") is True,
            "on_long_run_minutes": minutes if is_number else None,
            "recipients": _texts(alerts.get("recipients")),
        }
    return found


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    words = [short(each, _LONGEST_REQUEST) for each in values[:_MOST_REQUESTS] if _is_word(each)]
    return [word for word in words if word]


def _is_word(value: Any) -> bool:
    """Whether it is a text, or a number such as the tag 2026; a boolean does not keep the original text."""
    return isinstance(value, (str, int)) and not isinstance(value, bool)
