"""`notify emit`: options that are JSON, standard input, and warnings on standard error."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from syftnotify.core.errors import EmitError
from syftnotify.core.text import escape
from syftnotify.sources.spool import emit
from syftnotify.system.paths import Home

_LARGEST_INPUT = 16 * 1024 * 1024  # bytes of standard input; of a long `error` in it the end is kept


def hand_in(home: Home, kind: str, entity: str, *, payload: str, alerts: str, **options: Any) -> str:
    """Hand in an event and return its key on one line of printable text. Raises as `syftnotify.emit`."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    key = emit(
        kind,
        entity,
        payload=_object("payload", _standard_input() if payload == "-" else payload),
        alerts=_object("alerts", alerts),
        home=home.root,
        **options,
    )
    return escape(key, limit=len(key))


def _standard_input() -> str:
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(_LARGEST_INPUT + 1)
    if len(content) > _LARGEST_INPUT:
        raise EmitError(
            f"standard input holds more than {_LARGEST_INPUT >> 20} MiB", hint="pass on the end of it: `tail -c 100000`"
        )
    # An event with a replaced character is worth more than none.
    return content.decode("utf-8-sig", "replace") or " "


def _object(name: str, text: str) -> dict[str, Any] | None:
    """The JSON object that an option holds; None when it is not given."""
    if not text:
        return None
    try:
        found = _keepable(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise EmitError(f"the {name} is not valid JSON: {error}", hint="for example: '{\"job_id\": 42}'") from error
    if not isinstance(found, dict):
        raise EmitError(f"the {name} must be a JSON object, got {escape(text, limit=60)}")
    return found


def _keepable(value: Any) -> Any:
    """The same with what UTF-8 and 64 bits cannot hold replaced: such an event is worth more than none."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    if isinstance(value, dict):
        return {_keepable(key): _keepable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_keepable(each) for each in value]
    return value


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
