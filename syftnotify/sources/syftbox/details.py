"""Extract from a job's config.yaml and state.yaml what a message may contain: few keys, each with a checked type."""

from __future__ import annotations

from datetime import date
from typing import Any

_MAX_FILES = 1000
_MAX_REASON = 2000  # characters
_MAX_REQUESTS = 20  # tags or recipients that one job may name
# Characters of a tag or an address that a job names. An address has at most 254, so a shortened one is not an address.
MAX_REQUEST = 300
_MAX_TIME = 64  # characters
_MAX_NAMES = 50  # dependencies or datasets that one job may request
_MAX_NAME = 200  # characters of one of them
_MAX_FOLDER_NAME = 300  # characters of the job's own name; a folder's name has at most 255


def time_text(value: Any) -> str:
    """A timestamp of the tree as text. It is part of event keys, so its form must never change."""
    if isinstance(value, date):
        return value.isoformat()
    # Other types are not timestamps, and another process may format them differently.
    return text_prefix(value, _MAX_TIME) if isinstance(value, (str, int, float)) else ""


def text_prefix(value: Any, limit: int) -> str:
    """The first `limit` characters of `value` as text; empty if it has no text, like an int of thousands of digits."""
    try:
        return str(value)[:limit]
    except (ValueError, RecursionError):
        return ""


def job_details(config: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """What a message may contain of the contents of config.yaml and state.yaml, as a JSON object.

    A value of the wrong type counts as missing. `incomplete` is set by the layout.
    """
    files = config.get("files")
    names = [name for name in files if isinstance(name, str)][:_MAX_FILES] if isinstance(files, list) else []
    code = state.get("return_code")
    reason = state.get("rejection_reason") or state.get("review_reason")
    entry = config.get("entrypoint") or config.get("entry_point")
    path = config.get("code_path")
    return {
        "files": names,
        "entrypoint": entry if isinstance(entry, str) else "",
        "config_name": text_prefix(config.get("name") or "", _MAX_FOLDER_NAME),
        "dependencies": _names(config.get("dependencies")),
        "dependency_count": len(listed) if isinstance(listed := config.get("dependencies"), list) else 0,
        "datasets": _datasets(config.get("datasets")),
        "code_path": path if isinstance(path, str) else "",
        "type": text_prefix(config.get("type") or "", 20),
        "return_code": code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None,
        "reason": reason[:_MAX_REASON] if isinstance(reason, str) else "",
        "incomplete": False,
        **_notification_requests(config.get("headers")),
    }


def _names(value: Any) -> list[str]:
    names = value if isinstance(value, list) else []
    return [name[:_MAX_NAME] for name in names[:_MAX_NAMES] if isinstance(name, str) and name]


def _datasets(value: Any) -> list[str]:
    """The names of the requested datasets of all owners; the clients write a mapping from owner to names."""
    if isinstance(value, dict):
        return [name for names in list(value.values())[:_MAX_NAMES] for name in _names(names)][:_MAX_NAMES]
    return _names(value)


def _notification_requests(headers: Any) -> dict[str, Any]:
    """The `tags`, `notify` and `alerts` in a job's headers. Routing decides whether they are honoured."""
    if not isinstance(headers, dict):
        return {}
    notify, alerts = headers.get("notify"), headers.get("alerts")
    notify = notify if isinstance(notify, dict) else {}
    found: dict[str, Any] = {}
    if tags := _texts(notify.get("tags")):
        found["tags"] = tags
    if emails := _texts(notify.get("emails")):
        found["notify"] = {"emails": emails, "on": _texts(notify.get("on"))}
    if isinstance(alerts, dict):
        found["alerts"] = _alerts(alerts)
    return found


def _alerts(alerts: dict[str, Any]) -> dict[str, Any]:
    minutes = alerts.get("on_long_run_minutes")
    is_number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool) and 0 < minutes < 1e6
    return {
        "on_failure": alerts.get("on_failure") is not False,
        "on_success": alerts.get("on_success") is True,
        "on_long_run_minutes": minutes if is_number else None,
        "recipients": _texts(alerts.get("recipients")),
    }


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    texts = [text_prefix(each, MAX_REQUEST) for each in values[:_MAX_REQUESTS] if _is_text_or_number(each)]
    return [text for text in texts if text]


def _is_text_or_number(value: Any) -> bool:
    """Numbers are accepted for tags like 2026; a boolean has lost its original text."""
    return isinstance(value, (str, int)) and not isinstance(value, bool)
