"""When shall nobody be disturbed? Pure: what falls into quiet hours waits for their end, and leaves as one message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo

from syftnotify.core.identifiers import AddressType, stable_hash
from syftnotify.core.kinds import WORKER_KINDS, Severity
from syftnotify.core.models import QUIET_HOURS_PREFIX, Event, Notification

EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of the day to another, which may be the next day's; `days` are those on which they begin."""

    begin: time
    end: time
    zone: tzinfo | None  # None: this machine's, whatever its clock changes to
    days: frozenset[int] = EVERY_DAY  # 0 is Monday
    sparing: frozenset[Severity] = frozenset({Severity.HIGH})  # what is told all the same

    def until(self, now: float) -> float | None:
        """When the quiet hours end in which `now` lies, in seconds since 1970; None when it is not quiet."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for day in (today - timedelta(days=1), today):
            if day.weekday() in self.days:
                last = day if self.end > self.begin else day + timedelta(days=1)
                begin = datetime.combine(day, self.begin, self.zone).timestamp()
                end = datetime.combine(last, self.end, self.zone).timestamp()
                if begin <= now < end:
                    return end
        return None


def held(
    notifications: Iterable[Notification], events: Mapping[str, Event], hours: QuietHours | None, now: float
) -> list[Notification]:
    """The same notifications; those that would disturb somebody now wait, and leave together.

    `events` are by key. What programs read, what is sparing, and the worker's own words are told at once.
    """
    until = hours.until(now) if hours else None
    if hours is None or until is None:
        return list(notifications)
    return [
        replace(
            item,
            not_before=until,
            bundle=QUIET_HOURS_PREFIX + stable_hash(item.recipient, item.transport, f"{until:.3f}"),
        )
        if not item.skipped
        and not item.medium.startswith(AddressType.WEBHOOK)
        and events[item.event_key].severity not in hours.sparing
        and events[item.event_key].kind not in WORKER_KINDS
        else item
        for item in notifications
    ]
