"""Events of other programs: each is one file in the spool folder, whole or not at all; no worker need be running.

A file is removed after its event is in the outbox. If the worker is killed between the two, the event is found again
and recognized by its key.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from syftnotify.core.emit_options import build_routing, check_routing
from syftnotify.core.errors import EmitError, StateError
from syftnotify.core.kinds import RESERVED_KINDS, EventKind, parse_kind
from syftnotify.core.models import Event
from syftnotify.core.text import escape
from syftnotify.system.files import atomic_write, create_private_folder, quarantine
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home

log = logging.getLogger(__name__)

_LARGEST = 256 * 1024  # bytes of one event
# Characters of `error` that are kept, from its end: as many as a mail shows, and worst case escaped they fit.
_LONGEST_ERROR = 16_000
_MOST_AT_ONCE = 1000  # files that one scan takes in
_END = ".json"
_STALE_SECONDS = 86400.0  # after which nobody is still writing a file
# What opening something that is not a regular file fails with.
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EOPNOTSUPP})


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
    alerts: Mapping[str, Any] | None = None,
    home: str | Path | None = None,
) -> str:
    """Hand in an event; the worker of `home` delivers its notifications, now or when it runs again.

    Only `user`, `tags`, `notify_emails`, `notify_on` and `alerts` choose recipients. They are remembered until the
    job has ended: its later events need not repeat them.

    Args:
        kind: `job_failed`, `gpu_available`, ... in any accepted spelling.
        entity: what it happened to; any text, kept as it is.
        user: whose it is; an email address is notified as its submitter.
        tags: words that routes can match.
        payload: a JSON object with whatever else is to be shown. Of a long `error` the end is kept.
        key: two events of one kind about one entity with the same key are one; without it each is its own.
        notify_emails: additional recipients, by email.
        notify_on: the kinds of events for `notify_emails`; unset: the ends of a job.
        alerts: an alerts block: `on_failure` (true), `on_success` (false), `on_long_run_minutes`, `recipients`.
        home: the folder of the worker; unset: `SYFTNOTIFY_HOME`, or `~/.syft-creds`.

    Returns:
        The event's key.

    Raises:
        UnknownKindError: there is no such kind.
        NotifyError: the home belongs to another user, or others can write to it.
        EmitError: an option is invalid, the event is too large, or the spool cannot be written.
    """
    routing = build_routing(user=user, tags=tags, emails=notify_emails, on=notify_on, alerts=alerts)
    event = _event(kind, entity, payload, key, routing)
    notify = routing.get("notify", {})
    if "emails" not in notify and notify and not event.kind.is_about_job:
        raise EmitError("notify_on has no effect without notify_emails", hint="name the recipients: --notify-email")
    place = Home.at(home)
    check_home(place)
    try:
        content = orjson.dumps(
            {
                "keyed": bool(key),
                "kind": event.kind.value,
                "entity": event.entity,
                "occurrence": event.occurrence,
                "at": event.at,
                "payload": dict(event.payload),
                "routing": dict(event.routing),
            }
        )
    except TypeError as error:  # not UTF-8, too deep, or no JSON
        raise EmitError(f"this cannot be kept: {error}") from None
    if len(content) > _LARGEST:
        raise EmitError(f"an event holds at most {_LARGEST // 1024} KiB", hint="leave the rest where it is")
    try:
        create_private_folder(place.spool)
        # The names sort as the events came.
        atomic_write(place.spool / f"{time.time_ns():020d}-{uuid.uuid4().hex}{_END}", content)
    except OSError as error:
        raise EmitError(
            f"{place.spool} cannot be written: {error.strerror}", hint="see that it is yours and not full"
        ) from error
    if "on" in routing.get("notify", {}) and "emails" not in routing["notify"]:
        log.warning("notify_on has no effect unless an earlier event of this job named notify_emails")
    if warning := _missing_configuration(place):
        log.warning("%s", warning)
    return event.key


def _missing_configuration(home: Home) -> str:
    """A warning when no worker can run in `home` yet, else nothing."""
    if home.config.is_file() and home.config.stat().st_size:
        return ""
    option = f"--home {shlex.quote(str(home.root))}"
    return (
        f"no configuration at {home.config}; the event is delivered once `notify init {option}` and "
        f"`notify start {option}` have run"
    )


def _event(kind: str, entity: str, payload: Mapping[str, Any] | None, key: str, routing: dict[str, Any]) -> Event:
    if not isinstance(entity, str) or not entity.strip():
        raise EmitError("the entity is empty; name what the event is about")
    if not isinstance(key, str):
        raise EmitError("the key must be text")
    if payload is not None and not isinstance(payload, Mapping):
        raise EmitError(f"the payload must be a JSON object, not {type(payload).__name__}")
    what = dict(payload or {})
    error = what.get("error")
    if isinstance(error, str) and len(error) > _LONGEST_ERROR:
        what["error"] = f"[{len(error) - _LONGEST_ERROR:,} characters omitted]\n{error[-_LONGEST_ERROR:]}"
    try:
        orjson.dumps(what)
    except TypeError as mistake:
        raise EmitError(f"the payload is not valid JSON: {mistake}") from None
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event(
        _emittable(parse_kind(kind, emitted=True)),
        entity,
        key or uuid.uuid4().hex,
        moment,
        what,
        routing,
        emitted=True,
    )


def _emittable(kind: EventKind) -> EventKind:
    if kind in RESERVED_KINDS:
        raise EmitError(
            f"`{kind}` is reserved for the worker itself and cannot be emitted",
            hint="use another kind, for example `job_failed`, and add a route for it",
        )
    return kind


@dataclass(slots=True)
class Spooled:
    """The events that one scan found in the spool."""

    events: list[Event] = field(default_factory=list)
    keyed: set[str] = field(default_factory=set)  # the keys of events whose emitter gave one
    paths: list[Path] = field(default_factory=list)
    is_all: bool = True


class Spool:
    """The worker's side of the spool folder. A file that cannot be used never keeps others from being taken in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._warned: set[str] = set()
        self._done: set[str] = set()  # files whose events are in the outbox and that cannot be removed
        self._sweep()

    def _sweep(self) -> None:
        """Remove what emitters left half written that were killed."""
        for path in self.folder.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def look(self) -> Spooled:
        """The events that came in, oldest first, at most 1,000.

        A file that is not an event is put aside. One that cannot be read or put aside is left where it is, with one
        warning, and tried again at the next scan.
        """
        found = Spooled()
        for name in self._names():
            if len(found.paths) == _MOST_AT_ONCE:
                found.is_all = False
                break
            path = self.folder / name
            try:
                event, is_keyed = _read(_content_of(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._warn_once(name, f"cannot be read ({error.strerror}); make it readable for the worker's user")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                self._put_aside(path, str(error))
            else:
                found.events.append(event)
                found.keyed.update({event.key} if is_keyed else ())
                found.paths.append(path)
        return found

    def _names(self) -> Iterator[str]:
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn_once("", f"cannot be listed ({error.strerror}); no emitted event is delivered")
            return
        self._done.intersection_update(names)
        yield from (name for name in names if name.endswith(_END) and name[0] != "." and name not in self._done)

    def _put_aside(self, path: Path, why: str) -> None:
        try:
            aside = quarantine(path)
        except StateError as error:
            self._warn_once(path.name, f"is not an event ({why}) and cannot be renamed ({error}); remove it")
        else:
            log.warning(
                "%s is not an event (%s); renamed to %s",
                escape(path.name),
                escape(why),
                escape(aside.name),
            )

    def _warn_once(self, name: str, what: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log.warning("%s %s", escape(name or str(self.folder)), escape(what, limit=600))

    def remove(self, taken: Spooled) -> None:
        """Remove the files of events that are in the outbox now."""
        for path in taken.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._done.add(path.name)
                self._warn_once(path.name, f"was taken in and cannot be removed ({error.strerror}); remove it")


def _content_of(path: Path) -> bytes:
    """The content of a regular file; anything else, which may never end, is not opened.

    Raises:
        ValueError: it is not a regular file, or belongs to another user.
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if error.errno in _NO_FILE:
            raise ValueError("not a regular file") from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise ValueError("not a regular file")
    # A spool that others can write to must not let them send mail in the owner's name.
    if hasattr(os, "geteuid") and found.st_uid not in {os.geteuid(), 0}:
        os.close(descriptor)
        raise ValueError("it belongs to another user")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_LARGEST + 1)


def _read(content: bytes) -> tuple[Event, bool]:
    """The event, and whether its emitter gave it a key."""
    if len(content) > _LARGEST:
        raise ValueError("too large")
    loaded = orjson.loads(content)
    payload = loaded.get("payload") if isinstance(loaded, dict) else None
    if not isinstance(payload, dict):
        raise TypeError("its payload is not an object")
    orjson.dumps(payload)  # raises where it is nested too deeply to be written again
    words = [loaded[name] for name in ("kind", "entity", "occurrence", "at")]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("its parts are not text")
    routing = check_routing(loaded.get("routing", {}))
    event = Event(_emittable(EventKind(words[0])), words[1], words[2], words[3], payload, routing, emitted=True)
    return event, loaded.get("keyed") is True
