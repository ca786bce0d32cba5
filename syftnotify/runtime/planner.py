"""Plans the notifications of a scan: routes, digests, quiet hours, attachments, the limit of new recipients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syftnotify.core.detection import Changes
from syftnotify.core.digests import BUNDLE_ABOVE, group_into_digests
from syftnotify.core.models import QUIET_HOURS_PREFIX, Event, Job
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.routing import RoutingContext, is_unverified, notifications_for, source_of
from syftnotify.core.throttle import SlidingWindow
from syftnotify.runtime.job_changes import submission_of
from syftnotify.runtime.recipients import RecipientLimit
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.sources.syftbox.attachments import attachments_of

_TOO_MANY = {"path": "all of it", "why": "too many jobs at once"}


class NotificationPlanner:
    """Turns the changes of a scan into notifications."""

    def __init__(self, recipients: RecipientLimit, quiet_hours: QuietHours | None) -> None:
        self._recipients = recipients
        self._quiet_hours = quiet_hours
        self._copied = SlidingWindow()  # sources whose code was copied lately

    def plan(
        self,
        report: ScanReport,
        changes: Changes,
        jobs: Mapping[tuple[str, str], Job],
        context: RoutingContext,
        *,
        after_downtime: bool,
        now: float,
    ) -> None:
        """Fill `report` with the events and notifications. `jobs` are those of the events, by submission."""
        for events in (changes.catch_up, changes.events):
            events[:] = [_unverified(event) if is_unverified(event, context) else event for event in events]
        catch_up = group_into_digests(notifications_for(changes.catch_up, context, catches_up=True), always=True)
        rest = notifications_for(changes.events, context)
        rest = group_into_digests(rest, above=BUNDLE_ABOVE) if after_downtime else rest
        by_key = {event.key: event for event in (*changes.catch_up, *changes.events)}
        report.notifications = defer([*catch_up, *rest], by_key, self._quiet_hours, now)
        single = (
            item for item in report.notifications if not item.bundle or item.bundle.startswith(QUIET_HOURS_PREFIX)
        )
        keys = {item.event_key for item in single if not item.skipped}
        changes.events[:] = [
            self._with_attachments(event, jobs, now) if event.key in keys else event for event in changes.events
        ]
        report.events = [*changes.catch_up, *changes.events]

    def _with_attachments(self, event: Event, jobs: Mapping[tuple[str, str], Job], now: float) -> Event:
        """The event with copies of code or stderr: not in digests, and not in a flood, which must not fill the disk."""
        job = jobs.get(submission_of(event))
        if job is None:
            return event
        source = source_of(event)
        if self._copied.is_full(source, now):
            return replace(event, payload={**event.payload, "code_left_out": [_TOO_MANY]})
        self._copied.record(source, now)
        return replace(event, payload={**event.payload, **attachments_of(job, event.kind)})

    def limit_recipients(self, report: ScanReport, context: RoutingContext, now: float, *, dry_run: bool) -> None:
        """Release what was withheld from recipients that may be mailed now, and withhold what is above the limit."""
        is_quiet = self._quiet_hours is not None and self._quiet_hours.until(now) is not None
        if not (dry_run or is_quiet):
            report.released = self._recipients.release(context, now)  # before later notifications of the recipients
        by_key = {event.key: event for event in report.events}
        admission = self._recipients.admit(report.notifications, by_key, context, now)
        report.notifications, report.newcomers = admission.notifications, admission.newcomers
        report.excess = admission.excess


def _unverified(event: Event) -> Event:
    return replace(event, payload={**event.payload, "unverified": True})
