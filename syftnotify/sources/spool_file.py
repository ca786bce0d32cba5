"""The file of one emitted event: a JSON object, written by any program and therefore checked when it is read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import orjson

from syftnotify.core.emit_options import check_routing
from syftnotify.core.errors import EmitError
from syftnotify.core.kinds import RESERVED_KINDS, EventKind
from syftnotify.core.models import Event

MAX_EVENT = 256 * 1024  # bytes of one file
# Errors of opening something that is not a regular file.
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EOPNOTSUPP})


def encode(event: Event, *, has_key: bool) -> bytes:
    """The content of the event's file; `has_key` is whether its emitter gave a key.

    Raises:
        EmitError: the event is too large, or cannot be represented as JSON.
    """
    try:
        content = orjson.dumps(
            {
                "keyed": has_key,
                "kind": event.kind.value,
                "entity": event.entity,
                "occurrence": event.occurrence,
                "at": event.at,
                "payload": dict(event.payload),
                "routing": dict(event.routing),
            }
        )
    except TypeError as error:  # not UTF-8, nested too deeply, or not JSON
        raise EmitError(f"the event cannot be written as JSON: {error}") from None
    if len(content) > MAX_EVENT:
        raise EmitError(
            f"an event may have at most {MAX_EVENT // 1024} KiB, got {len(content) // 1024}",
            hint="shorten the payload, for example to a path of the complete data",
        )
    return content


def decode(content: bytes) -> tuple[Event, bool]:
    """The event, and whether its emitter gave a key.

    Raises:
        ValueError, TypeError, RecursionError: the content is not an event.
    """
    if len(content) > MAX_EVENT:
        raise ValueError(f"larger than {MAX_EVENT // 1024} KiB")
    loaded = orjson.loads(content)
    payload = loaded.get("payload") if isinstance(loaded, dict) else None
    if not isinstance(payload, dict):
        raise TypeError("`payload` is missing or not a JSON object")
    orjson.dumps(payload)  # raises if it is nested too deeply to be written again
    kind, entity, occurrence, at = (_text(loaded, name) for name in ("kind", "entity", "occurrence", "at"))
    routing = check_routing(loaded.get("routing", {}))
    event = Event(emittable(EventKind(kind)), entity, occurrence, at, payload, routing, emitted=True)
    return event, loaded.get("keyed") is True


def _text(loaded: dict[str, Any], name: str) -> str:
    value = loaded.get(name)
    if not isinstance(value, str):
        raise TypeError(f"`{name}` is missing or not text")
    return value


def emittable(kind: EventKind) -> EventKind:
    """`kind` itself. Raises: EmitError if only the worker may create events of that kind."""
    if kind in RESERVED_KINDS:
        raise EmitError(
            f"`{kind}` is reserved for the worker and cannot be emitted",
            hint="use another kind, for example `job_failed`, and add a route for it",
        )
    return kind


def read_event_file(path: Path) -> bytes:
    """The first `MAX_EVENT + 1` bytes of a file in the spool: one more shows that the file is too large.

    Raises:
        ValueError: it is not a regular file, or belongs to another user.
        OSError: it cannot be read.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise ValueError("not a regular file") from None
        raise
    try:
        _check_status(os.fstat(descriptor))
    except ValueError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_EVENT + 1)


def _check_status(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    # If other users can write to the spool, their files must not send mail in the owner's name. Root may write events.
    if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), 0}:
        raise ValueError("it belongs to another user")
