"""Which keys of an event's payload are private, and who may see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syftnotify.core.kinds import Audience
from syftnotify.core.text import escape

# Payload keys that may contain private data of the run. They are shown to `TRUSTED_AUDIENCES` only.
PRIVATE_KEYS = frozenset({"code", "code_left_out", "review", "stderr", "stderr_cut", "excerpt", "output_names"})
# Payload keys of events of the tree that only mails need.
MAIL_KEYS = frozenset({"call", "requests"})
# Audiences that may see the output of a run.
TRUSTED_AUDIENCES = frozenset({Audience.OWNER, Audience.OPERATOR, Audience.RECIPIENT})

_MAX_DEPTH = 64  # nested objects and lists in it
_MIN_INTEGER, _MAX_INTEGER = -(1 << 63), (1 << 64) - 1  # that JSON encoders and databases can write


def storable(value: Any) -> Any:
    """A JSON value with lone surrogates and integers above 64 bits replaced, which cannot be stored or sent."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER:
        return str(value)
    if isinstance(value, Mapping):
        return {storable(key): storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    return value


def checked_payload(payload: Any) -> dict[str, Any]:
    """The payload of a notification or an event of another program, as it can be stored.

    Raises:
        ValueError: it is not a JSON object, or is nested too deeply.
    """
    if not isinstance(payload, Mapping):
        raise ValueError("expected a JSON object")
    if _is_deeper(payload, _MAX_DEPTH):
        raise ValueError(f"expected at most {_MAX_DEPTH} levels of objects and lists")
    found: dict[str, Any] = storable(payload)
    return found


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        nested = [each for each in level if isinstance(each, Mapping | list | tuple)]
        if not nested:
            return False
        level = [each for one in nested for each in (one.values() if isinstance(one, Mapping) else one)]
    return True


def error_text(payload: Mapping[str, Any]) -> str:
    """The error on one line: the last line of a traceback, which names it; empty if there is none."""
    lines = str(payload.get("stderr") or payload.get("error") or "").strip().splitlines()
    return escape(lines[-1].strip(), limit=300) if lines else ""
