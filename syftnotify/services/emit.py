"""Events whose data is given as JSON text, from the command line or from another program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syftnotify.core.errors import EmitError
from syftnotify.core.kinds import find_kind
from syftnotify.core.payloads import checked_payload, storable
from syftnotify.core.text import escape
from syftnotify.sources.spool import emit
from syftnotify.system.paths import Home

MAX_INPUT_BYTES = 16 * 1024 * 1024  # a long `error` in it is shortened to its end
_EXAMPLE = "for example: '{\"job_id\": 42}'"


@dataclass(frozen=True, slots=True)
class EmitRequest:
    """The arguments of `syftnotify.emit`, with JSON objects as text."""

    kind: str
    entity: str
    payload: str = ""  # JSON object; empty: none
    alerts: str = ""  # JSON object; empty: none
    user: str = ""
    tags: Sequence[str] = ()
    key: str = ""
    notify_emails: Sequence[str] = ()
    notify_on: Sequence[str] = ()


def emit_event(home: Home, request: EmitRequest) -> str:
    """Submit an event; returns its key as one line of printable text.

    Raises:
        EmitError: `payload` or `alerts` is not a JSON object; or as `syftnotify.emit`.
    """
    key = emit(
        request.kind,
        request.entity,
        payload=_parse_object("payload", request.payload),
        alerts=_parse_object("alerts", request.alerts),
        user=request.user,
        tags=request.tags,
        key=request.key,
        notify_emails=request.notify_emails,
        notify_on=request.notify_on,
        home=home.root,
    )
    return escape(key, limit=len(key))


def submit_event(home: Home, arguments: Mapping[str, Any], *, key: str = "") -> str:
    """Submit the event with these `arguments` of `syftnotify.emit`; returns its key as printable text.

    `key` replaces an empty `key` in them.

    Raises:
        EmitError, UnknownKindError, NotifyError: as `syftnotify.emit`.
    """
    try:
        payload = checked_payload(arguments.get("payload") or {})
    except ValueError as error:
        raise EmitError(f"payload: {error}") from None
    given = {**arguments, "payload": payload}
    given["key"] = given.get("key") or key
    found = emit(given.pop("kind"), given.pop("entity"), home=home.root, **given)
    return escape(found, limit=len(found))


def submit_cloud_event(home: Home, event: Mapping[str, Any]) -> str:
    """Submit an event with the attributes of CloudEvents 1.0; returns its key as printable text.

    Its kind is the end of `type`: `job_failed` and `job.failed` of `example.lab.job.failed`. `source` and `id` identify
    it, as the specification says.

    Raises:
        EmitError, UnknownKindError, NotifyError: as `syftnotify.emit`.
    """
    arguments = {
        "kind": _kind_of_type(str(event["type"])),
        "entity": event.get("subject") or event["source"],
        "payload": event.get("data") or {},
        "key": f"{event['source']} {event['id']}",
    }
    return submit_event(home, arguments)


def _kind_of_type(text: str) -> str:
    parts = text.split(".")
    ends = (".".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if find_kind(end) is not None), text)


def decode_input(content: bytes) -> str:
    """The text of a payload from standard input; bytes that are not UTF-8 are replaced.

    Raises:
        EmitError: it has more than `MAX_INPUT_BYTES`.
    """
    if len(content) > MAX_INPUT_BYTES:
        raise EmitError(
            f"standard input has more than {MAX_INPUT_BYTES >> 20} MiB", hint="pass only its end: `tail -c 100000`"
        )
    return content.decode("utf-8-sig", "replace") or " "  # empty input is not JSON; an empty option is no payload


def _parse_object(name: str, text: str) -> dict[str, Any] | None:
    """The JSON object in an option; None if the option is not set."""
    if not text:
        return None
    try:
        found = storable(json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise EmitError(f"the {name} is not valid JSON: {error}", hint=_EXAMPLE) from error
    if not isinstance(found, dict):
        raise EmitError(f"the {name} must be a JSON object, got {escape(text, limit=60)}", hint=_EXAMPLE)
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
