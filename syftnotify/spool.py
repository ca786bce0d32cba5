"""How does somebody else's event come in? As one file in the spool, whole or not at all; no worker need be running.

A file that was taken in is removed after its event lies in the outbox; killed between the two, the event is known by
its key.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from syftnotify import running
from syftnotify.errors import EmitError
from syftnotify.files import put_aside, write_whole
from syftnotify.model import Event, Kind, is_address, parse_kind
from syftnotify.paths import Home
from syftnotify.text import shown

log = logging.getLogger(__name__)

_LARGEST = 256 * 1024  # bytes of one event
_MOST_AT_ONCE = 1000  # files that one look takes in
_END = ".json"
_STALE_SECONDS = 86400.0  # after which nobody is still writing a file


def emit(
    kind: str,
    entity: str,
    *,
    user: str = "",
    tags: Iterable[str] = (),
    payload: Mapping[str, Any] | None = None,
    key: str = "",
    notify_emails: Iterable[str] = (),
    notify_on: Iterable[str] = (),
    home: str | Path | None = None,
) -> str:
    """Hand in an event: it is told by the worker of `home`, now or when one runs again.

    Args:
        kind: what happened: `job_failed`, `gpu_available`, ... in any accepted spelling.
        entity: what it happened to; any text, kept as it is.
        user: whose it is; an address is told as its submitter.
        tags: words that routes can match.
        payload: a JSON object with whatever else is to be told.
        key: two events of one kind about one entity with the same key are one; without it each is its own.
        notify_emails: who else hears by mail.
        notify_on: of which kinds of events they hear; unset: when a job ended.
        home: the folder of the worker; unset: `SYFTNOTIFY_HOME`, or `~/.syft-creds`.

    Returns:
        The event's key.

    Raises:
        UnknownKindError: there is no such kind.
        NotifyError: the home is somebody else's.
        EmitError: the entity is empty, the payload is no JSON object, an address is none, one text stands where
            several belong, or the spool cannot be written.
    """
    for name, words in (("tags", tags), ("notify_emails", notify_emails), ("notify_on", notify_on)):
        if isinstance(words, str):  # else each of its letters would be a word
            raise EmitError(f"{name} is a list of texts, not one text: write [{shown(words, limit=60)!r}]")
    event = _event(kind, entity, user, list(tags), payload, key, list(notify_emails), list(notify_on))
    place = Home.at(home)
    running.check_owner(place)
    try:
        content = orjson.dumps(
            {
                "keyed": bool(key),
                "kind": event.kind.value,
                "entity": event.entity,
                "occurrence": event.occurrence,
                "at": event.at,
                "payload": dict(event.payload),
            }
        )
    except TypeError as error:  # not UTF-8, too deep, or no JSON
        raise EmitError(f"this cannot be kept: {error}") from None
    if len(content) > _LARGEST:
        raise EmitError(f"an event holds at most {_LARGEST // 1024} KiB", hint="leave the rest where it is")
    try:
        place.create()
        place.spool.mkdir(mode=0o700, exist_ok=True)
        # The names sort as the events came.
        write_whole(place.spool / f"{time.time_ns():020d}-{uuid.uuid4().hex}{_END}", content)
    except OSError as error:
        raise EmitError(
            f"{place.spool} cannot be written: {error.strerror}", hint="see that it is yours and not full"
        ) from error
    return event.key


def _event(
    kind: str,
    entity: str,
    user: str,
    tags: list[str],
    payload: Mapping[str, Any] | None,
    key: str,
    emails: list[str],
    on: list[str],
) -> Event:
    if not isinstance(entity, str) or not entity.strip():
        raise EmitError("an event is about something: name its entity")
    if not isinstance(key, str) or not isinstance(user, str):
        raise EmitError("key and user are text")
    if payload is not None and not isinstance(payload, Mapping):
        raise EmitError(f"the payload must be a JSON object, not {type(payload).__name__}")
    if wrong := [address for address in emails if not is_address(address)]:
        raise EmitError(f"{shown(wrong[0])!r} is no mail address")
    what = dict(payload or {})
    try:
        orjson.dumps(what)
    except TypeError as error:
        raise EmitError(f"the payload is no JSON: {error}") from None
    if user:
        what["user"] = user
    if tags:
        what["tags"] = tags
    kinds = [parse_kind(word).value for word in on]
    if emails:
        what["notify"] = {"emails": emails, "on": kinds}
    what["emitted"] = True
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event(parse_kind(kind), entity, key or uuid.uuid4().hex, moment, what)


@dataclass(slots=True)
class Spooled:
    """What lay in the spool at one look."""

    events: list[Event] = field(default_factory=list)
    keyed: set[str] = field(default_factory=set)  # the keys of events whose emitter gave one
    paths: list[Path] = field(default_factory=list)
    is_all: bool = True


class Spool:
    """The incoming side, of the worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._warned: set[str] = set()
        self._sweep()

    def _sweep(self) -> None:
        """Remove what emitters left half written that were killed."""
        for path in self.folder.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def look(self) -> Spooled:
        """What came in, oldest first. A file that is no event is kept aside."""
        found = Spooled()
        try:
            names = sorted(path.name for path in self.folder.glob(f"[!.]*{_END}"))
        except OSError:
            return found
        found.is_all = len(names) <= _MOST_AT_ONCE
        for name in names[:_MOST_AT_ONCE]:
            path = self.folder / name
            try:
                event, is_keyed = _read(_content_of(path))
                found.events.append(event)
                found.keyed.update({event.key} if is_keyed else ())
                found.paths.append(path)
            except FileNotFoundError:
                continue
            except PermissionError:
                if name not in self._warned:
                    self._warned.add(name)
                    log.warning("%s cannot be read: whoever wrote it must give it to the worker's user", name)
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                log.warning("%s is no event (%s) and is kept as %s", name, shown(str(error)), put_aside(path).name)
        return found

    @staticmethod
    def remove(taken: Spooled) -> None:
        """Its events lie in the outbox."""
        for path in taken.paths:
            path.unlink(missing_ok=True)


def _content_of(path: Path) -> bytes:
    """What lies in a file; anything else than one, which may never end, is not opened."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no file")
        return file.read(_LARGEST + 1)


def _read(content: bytes) -> tuple[Event, bool]:
    """The event, and whether its emitter gave it a key."""
    if len(content) > _LARGEST:
        raise ValueError("too large")
    loaded = orjson.loads(content)
    payload = loaded.get("payload") if isinstance(loaded, dict) else None
    if not isinstance(payload, dict):
        raise TypeError("its payload is no object")
    words = [loaded[name] for name in ("kind", "entity", "occurrence", "at")]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("its parts are no text")
    payload.pop("asked_by", None)  # our own bookkeeping
    event = Event(Kind(words[0]), words[1], words[2], words[3], {**payload, "emitted": True})
    return event, loaded.get("keyed") is True
