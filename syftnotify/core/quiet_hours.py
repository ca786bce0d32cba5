"""Quiet hours: notifications are deferred to their end and sent as one digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import WORKER_KINDS, Severity
from syftnotify.core.models import QUIET_HOURS_PREFIX, Event, Notification

EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A daily period. If `end` is not after `begin`, it is on the next day."""

    begin: time
    end: time
    timezone: tzinfo | None  # None: that of this machine
    days: frozenset[int] = EVERY_DAY  # on which the period begins; 0 is Monday
    exempt: frozenset[Severity] = frozenset({Severity.HIGH})

    def until(self, now: float) -> float | None:
        """The end of the quiet hours that include `now`, in seconds since 1970; None outside of quiet hours."""
        today = datetime.fromtimestamp(now, self.timezone).date()
        for day in (today - timedelta(days=1), today):
            if day.weekday() in self.days:
                last = day if self.end > self.begin else day + timedelta(days=1)
                begin = datetime.combine(day, self.begin, self.timezone).timestamp()
                end = datetime.combine(last, self.end, self.timezone).timestamp()
                if begin <= now < end:
                    return end
        return None


def defer(
    notifications: Iterable[Notification], events: Mapping[str, Event], hours: QuietHours | None, now: float
) -> list[Notification]:
    """The same notifications; during quiet hours those that are not exempt become a digest at their end.

    Exempt are severities in `hours.exempt`, events of the worker itself, and notifications for programs. `events` are
    by key. `now` is in seconds since 1970.
    """
    until = hours.until(now) if hours else None
    if hours is None or until is None:
        return list(notifications)
    return [
        item
        if item.skipped or item.for_programs or _is_exempt(events[item.event_key], hours)
        else replace(
            item,
            not_before=until,
            bundle=QUIET_HOURS_PREFIX + stable_hash(item.recipient, item.transport, f"{until:.3f}"),
        )
        for item in notifications
    ]


def _is_exempt(event: Event, hours: QuietHours) -> bool:
    return event.severity in hours.exempt or event.kind in WORKER_KINDS
