"""Values that users enter as text."""

from __future__ import annotations

import time
from datetime import datetime

from syftnotify.config.values import DurationRangeError, parse_duration
from syftnotify.core.errors import NotifyError
from syftnotify.core.text import escape


class UsageError(NotifyError):
    """An option or argument that cannot be used."""

    exit_code = 2


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
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{escape(text)!r} is not a time{reason}",
            hint="use one such as 2h, 3d, 2026-01-15 or 2026-01-15T15:30, in local time",
        ) from None
