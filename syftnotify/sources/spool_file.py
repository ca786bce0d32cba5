"""The file of one emitted event: a JSON object, written by any program and therefore checked when it is read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import orjson

from syftnotify.core.emit_options import check_routing
from syftnotify.core.errors import EmitError
from syftnotify.core.kinds import RESERVED_KINDS, EventKind
from syftnotify.core.models import Event

MAX_EVENT = 256 * 1024  # bytes of one file
# Errors of opening something that is not a regular file.
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EOPNOTSUPP})


def encode(event: Event, *, has_key: bool) -> bytes:
    """The content of the event's file; `has_key`: its emitter gave a key.

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
        ValueError, TypeError, KeyError, RecursionError: the content is not an event.
    """
    if len(content) > MAX_EVENT:
        raise ValueError("too large")
    loaded = orjson.loads(content)
    payload = loaded.get("payload") if isinstance(loaded, dict) else None
    if not isinstance(payload, dict):
        raise TypeError("its payload is not an object")
    orjson.dumps(payload)  # raises if it is nested too deeply to be written again
    texts = [loaded[name] for name in ("kind", "entity", "occurrence", "at")]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("one of its fields is not text")
    routing = check_routing(loaded.get("routing", {}))
    kind = emittable(EventKind(texts[0]))
    return Event(kind, texts[1], texts[2], texts[3], payload, routing, emitted=True), loaded.get("keyed") is True


def emittable(kind: EventKind) -> EventKind:
    """The kind itself. Raises: EmitError if only the worker may create such events."""
    if kind in RESERVED_KINDS:
        raise EmitError(
            f"`{kind}` is reserved for the worker and cannot be emitted",
            hint="use another kind, for example `job_failed`, and add a route for it",
        )
    return kind


def read_event_file(path: Path) -> bytes:
    """The content of a file in the spool, cut one byte above `MAX_EVENT`.

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
    # In a spool that others can write to, their files must not send mail in the owner's name.
    if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), 0}:
        raise ValueError("it belongs to another user")
