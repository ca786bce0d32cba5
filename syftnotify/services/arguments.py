"""Values that users enter as text."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from syftnotify.config.values import DurationRangeError, parse_duration
from syftnotify.core.errors import NotFoundError, NotifyError
from syftnotify.core.text import escape


class UsageError(NotifyError):
    """An option or argument that cannot be used."""

    exit_code = 2


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Record = TypeVar("Record", bound=_HasId)


def by_id_prefix(records: Iterable[Record], prefix: str, *, noun: str, command: str) -> Record:
    """The record whose id begins with `prefix`; `noun` and the `command` that lists them are for the error.

    Raises:
        NotFoundError: there is none.
        NotifyError: there are several.
    """
    found = [record for record in records if prefix and record.id.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    shown, hint = escape(prefix), f"run `{command}` for the ids"
    if found:
        raise NotifyError(f"the ids of {len(found)} {noun}s begin with {shown!r}", hint=hint)
    raise NotFoundError(f"there is no {noun} {shown!r}", hint=hint)


def parse_upcoming(text: str, after: float) -> float:
    """The next time of day `23:30` after `after`, or an ISO 8601 date or time, which is local unless it has an offset.

    Raises:
        UsageError: it is neither.
    """
    try:
        at = datetime.strptime(text.strip(), "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        return _parse_iso(text, hint="use one such as 23:30, 2026-01-15 or 2026-01-15T15:30, in local time")
    today = datetime.fromtimestamp(after).astimezone().date()
    # An hour that is repeated when clocks are set back is there twice.
    moments = [
        datetime.combine(today + timedelta(days), at.replace(fold=fold)).astimezone().timestamp()
        for days in (0, 1)
        for fold in (0, 1)
    ]
    return min(moment for moment in moments if moment > after)


def parse_time(text: str) -> float:
    """Seconds since 1970 of `2h` or `3d` ago, or of an ISO 8601 date or time, which is local unless it has an offset.

    Raises:
        UsageError: it is neither.
    """
    reason = ""
    try:
        return time.time() - parse_duration(text)
    except DurationRangeError as error:
        reason = f": {error}"
    except ValueError:
        pass
    return _parse_iso(text, reason, hint="use one such as 2h, 3d, 2026-01-15 or 2026-01-15T15:30, in local time")


def _parse_iso(text: str, reason: str = "", *, hint: str) -> float:
    """Seconds since 1970 of a date or time. Raises: UsageError with `reason` and `hint`, it is none."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{escape(text)!r} is not a time{reason}", hint=hint) from None
