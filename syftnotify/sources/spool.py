"""The spool: a folder in which other programs store events for the worker, which need not be running.

Each event is one file, written atomically. The worker removes the file after the event was enqueued in the outbox. If
it is killed in between, the event is found again and recognized by its key.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from syftnotify.core.emit_options import build_routing
from syftnotify.core.errors import EmitError, StateError
from syftnotify.core.kinds import parse_kind
from syftnotify.core.models import Event
from syftnotify.core.text import escape
from syftnotify.sources.spool_file import decode, emittable, encode, read_event_file
from syftnotify.system.files import atomic_write, create_private_folder, quarantine
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home

log = logging.getLogger(__name__)

# Characters kept of the `error` in a payload, from its end: as many as a mail shows. Below `MAX_EVENT` even if escaped.
_MAX_ERROR = 16_000
_BATCH_SIZE = 1000  # events of one scan
_SUFFIX = ".json"
_STALE_SECONDS = 86400.0  # after this time a temporary file belongs to an emitter that was killed


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
    """Emit an event; the worker of `home` delivers its notifications, now or at its next start.

    Only `user`, `tags`, `notify_emails`, `notify_on` and `alerts` select recipients. They are remembered until the job
    has ended, so its later events need not repeat them.

    Args:
        kind: `job_failed`, `gpu_available`, ... in any accepted spelling.
        entity: what the event is about; any text, kept unchanged.
        user: the owner of the entity; an email address is notified as its submitter.
        tags: labels that routes can match.
        payload: a JSON object with further data to show. Of a long `error` the end is kept.
        key: identifies the event among those of the same kind and entity; repeated keys are ignored. Without a key,
            each call is an event.
        notify_emails: additional recipients, by email.
        notify_on: the kinds of events for `notify_emails`; default: the ends of a job.
        alerts: an alerts block: `on_failure` (true), `on_success` (false), `on_long_run_minutes`, `recipients`.
        home: the folder of the worker; default: `SYFTNOTIFY_HOME`, or `~/.syft-creds`.

    Returns:
        The event's key.

    Raises:
        UnknownKindError: there is no such kind.
        NotifyError: the home belongs to another user, or others can write to it.
        EmitError: an option is invalid, the event is too large, or the spool cannot be written.
    """
    routing = build_routing(user=user, tags=tags, emails=notify_emails, on=notify_on, alerts=alerts)
    event = _event(kind, entity, payload, key, routing)
    lacks_emails = bool(routing.get("notify")) and "emails" not in routing["notify"]
    if lacks_emails and not event.kind.is_about_job:
        raise EmitError("notify_on has no effect without notify_emails", hint="name the recipients: --notify-email")
    target = Home.at(home)
    check_home(target)
    _write(target, encode(event, has_key=bool(key)))
    if lacks_emails:
        log.warning("notify_on has no effect unless an earlier event of this job named notify_emails")
    if warning := _missing_configuration(target):
        log.warning("%s", warning)
    return event.key


def request_scan(home: Home) -> None:
    """Let a worker that watches its spool scan now, and deliver what another process queued in the outbox.

    If that fails, the next scan does it.
    """
    with contextlib.suppress(OSError):
        change = home.spool / f".scan-{uuid.uuid4().hex}"  # no event: its name begins with a dot
        change.touch(mode=0o600)
        change.unlink()


def _event(kind: str, entity: str, payload: Mapping[str, Any] | None, key: str, routing: dict[str, Any]) -> Event:
    if not isinstance(entity, str) or not entity.strip():
        raise EmitError("the entity is empty; name what the event is about")
    if not isinstance(key, str):
        raise EmitError(f"the key must be text, not {type(key).__name__}")
    if payload is not None and not isinstance(payload, Mapping):
        raise EmitError(f"the payload must be a JSON object, not {type(payload).__name__}")
    return Event(
        emittable(parse_kind(kind, emitted=True)),
        entity,
        key or uuid.uuid4().hex,
        datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        _checked_payload(dict(payload or {})),
        routing,
        emitted=True,
    )


def _checked_payload(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with a shortened `error`. Raises: EmitError if it is not valid JSON."""
    text = payload.get("error")
    if isinstance(text, str) and len(text) > _MAX_ERROR:
        payload["error"] = f"[{len(text) - _MAX_ERROR:,} characters omitted]\n{text[-_MAX_ERROR:]}"
    try:
        orjson.dumps(payload)
    except TypeError as error:
        raise EmitError(f"the payload is not valid JSON: {error}") from None
    return payload


def _write(home: Home, content: bytes) -> None:
    try:
        create_private_folder(home.spool)
        # The time comes first in the name, so that the worker reads the oldest events first.
        atomic_write(home.spool / f"{time.time_ns():020d}-{uuid.uuid4().hex}{_SUFFIX}", content)
    except OSError as error:
        raise EmitError(
            f"{home.spool} cannot be written: {error.strerror}",
            hint="check that you own it and that the disk is not full",
        ) from error


def _missing_configuration(home: Home) -> str:
    """A warning if `home` has no configuration, without which no worker can run; otherwise empty."""
    if home.config.is_file() and home.config.stat().st_size:
        return ""
    option = f"--home {shlex.quote(str(home.root))}"
    return (
        f"no configuration at {home.config}; the event is delivered once you run `notify init {option}` and "
        f"`notify start {option}`"
    )


@dataclass(slots=True)
class SpoolBatch:
    """The events of one scan of the spool, oldest first."""

    events: list[Event] = field(default_factory=list)
    keyed: set[str] = field(default_factory=set)  # keys of the events to which their emitters gave a key
    paths: list[Path] = field(default_factory=list)  # of the events' files
    is_complete: bool = True  # False: the spool has more events


class Spool:
    """The worker's side of the spool. A file that cannot be used does not prevent reading others."""

    def __init__(self, folder: Path) -> None:
        """Remove temporary files of emitters that were killed. `folder` need not exist yet."""
        self.folder = folder
        self._warned: set[str] = set()  # names of files
        self._enqueued: set[str] = set()  # names of files that cannot be removed although they were enqueued
        self._remove_stale()

    def _remove_stale(self) -> None:
        for path in self.folder.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def scan(self) -> SpoolBatch:
        """Read at most 1,000 events.

        A file that is not an event is quarantined. One that cannot be read or quarantined stays, with one warning, and
        is tried again at the next scan.
        """
        batch = SpoolBatch()
        for name in self._names():
            if len(batch.paths) == _BATCH_SIZE:
                batch.is_complete = False
                break
            path = self.folder / name
            try:
                event, has_key = decode(read_event_file(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._warn_once(name, f"cannot be read ({error.strerror}); make it readable for the worker's user")
            except (ValueError, TypeError, RecursionError) as error:
                self._quarantine(path, str(error))
            else:
                batch.events.append(event)
                if has_key:
                    batch.keyed.add(event.key)
                batch.paths.append(path)
        return batch

    def remove(self, batch: SpoolBatch) -> None:
        """Remove the files of a batch whose events have been enqueued. One that cannot be removed is not read again."""
        for path in batch.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._enqueued.add(path.name)
                self._warn_once(path.name, f"was enqueued and cannot be removed ({error.strerror}); remove it")

    def _names(self) -> Iterator[str]:
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn_once(
                "",
                f"cannot be listed ({error.strerror}), so no emitted event is delivered; make it readable",
            )
            return
        self._enqueued.intersection_update(names)
        yield from (name for name in names if name.endswith(_SUFFIX) and name[0] != "." and name not in self._enqueued)

    def _quarantine(self, path: Path, reason: str) -> None:
        try:
            renamed = quarantine(path)
        except StateError as error:
            self._warn_once(path.name, f"is not an event ({reason}) and cannot be renamed ({error}); remove it")
        else:
            log.warning(
                "%s is not an event (%s); renamed to %s", escape(path.name), escape(reason), escape(renamed.name)
            )

    def _warn_once(self, name: str, problem: str) -> None:
        """Warn about a file, or about the folder if the name is empty."""
        if name not in self._warned:
            self._warned.add(name)
            log.warning("%s %s", escape(name or str(self.folder)), escape(problem, limit=600))
