"""Plans the notifications of a scan: routes, digests, quiet hours, attachments, the limit of new recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache

from syftnotify.core.detection import Changes
from syftnotify.core.digests import BUNDLE_ABOVE, group_into_digests
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import QUIET_HOURS_PREFIX, Event, Job
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.routing import RoutingContext, is_unverified, notifications_for, source_of
from syftnotify.core.submissions import Submission, SubmissionLog
from syftnotify.core.throttle import SlidingWindow
from syftnotify.runtime.job_changes import submission_of
from syftnotify.runtime.recipients import RecipientLimit
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.services.review import copy_of, review_submission, submitter_of
from syftnotify.sources.syftbox.attachments import attachments_of
from syftnotify.sources.syftbox.submission_content import read_submission

_REVIEW_KEYS = frozenset({"code", "code_left_out", "review"})
_ALL_FILES = {"path": "", "why": "too many jobs at once"}


class NotificationPlanner:
    """Turns the changes of a scan into notifications."""

    def __init__(
        self, recipients: RecipientLimit, quiet_hours: QuietHours | None, submissions: SubmissionLog | None
    ) -> None:
        """`submissions` is None if they are those of the user, who needs no review."""
        self._submissions = submissions
        self._recipients = recipients
        self._quiet_hours = quiet_hours
        self._copied = SlidingWindow()  # by source, the recent events with attachments

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
        """Fill `report` with the events and notifications. `jobs` has the jobs of the events, see `submission_of`."""
        changes.catch_up = _marked(changes.catch_up, context)
        changes.events = _marked(changes.events, context)
        catch_up = group_into_digests(notifications_for(changes.catch_up, context, catches_up=True), always=True)
        rest = notifications_for(changes.events, context)
        rest = group_into_digests(rest, above=BUNDLE_ABOVE) if after_downtime else rest
        by_key = {event.key: event for event in (*changes.catch_up, *changes.events)}
        report.notifications = defer([*catch_up, *rest], by_key, self._quiet_hours, now)
        single = (
            item for item in report.notifications if not item.bundle or item.bundle.startswith(QUIET_HOURS_PREFIX)
        )
        # The page shows the review of a silenced submission, too, and later changes of its files are compared with it.
        silenced = {event.key for event in changes.events if context.silenced(event)}
        keys = {item.event_key for item in single if not item.skipped or item.event_key in silenced}
        # Read once for all new jobs of a submitter.
        decided = cache(self._submissions.decided) if self._submissions else None
        changes.events = [
            self._with_attachments(event, jobs, report, decided, now) if event.key in keys else event
            for event in changes.events
        ]
        report.events = [*changes.catch_up, *changes.events]

    def _with_attachments(
        self,
        event: Event,
        jobs: Mapping[tuple[str, str], Job],
        report: ScanReport,
        decided: Callable[[str, str], list[Submission]] | None,
        now: float,
    ) -> Event:
        """The event with copies of code or stderr. A source with many events gets none: they could fill the disk."""
        job = jobs.get(submission_of(event))
        is_change = event.kind is EventKind.JOB_FILES_CHANGED
        if job is None and not is_change:
            return event
        source = source_of(event)
        if self._copied.is_full(source, now) and is_change:
            return replace(
                event, payload={key: value for key, value in event.payload.items() if key not in _REVIEW_KEYS}
            )
        if self._copied.is_full(source, now):
            return replace(event, payload={**event.payload, "code_left_out": [_ALL_FILES]})
        self._copied.record(source, now)
        if job is None or is_change:
            return event
        if event.kind is not EventKind.JOB_SUBMITTED:
            return replace(event, payload={**event.payload, **attachments_of(job, event.kind)})
        if decided is None:
            return event
        content = read_submission(job)
        report.new_submissions.append(copy_of(job, content))
        return replace(
            event, payload={**event.payload, **review_submission(job, content, decided(job.owner, submitter_of(job)))}
        )

    def limit_recipients(self, report: ScanReport, context: RoutingContext, now: float, *, dry_run: bool) -> None:
        """Release withheld notifications to recipients who may be mailed now, and withhold those above the limit."""
        is_quiet = self._quiet_hours is not None and self._quiet_hours.until(now) is not None
        if not (dry_run or is_quiet):
            report.released = self._recipients.release(context, now)  # before later notifications of the recipients
        by_key = {event.key: event for event in report.events}
        admission = self._recipients.admit(report.notifications, by_key, context, now)
        report.notifications, report.newcomers = admission.notifications, admission.newcomers
        report.excess = admission.excess


def _marked(events: Iterable[Event], context: RoutingContext) -> list[Event]:
    """The events; the payload of those with an unverified submitter says so."""
    return [
        replace(event, payload={**event.payload, "unverified": True}) if is_unverified(event, context) else event
        for event in events
    ]
