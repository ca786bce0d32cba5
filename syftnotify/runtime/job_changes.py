"""Changes of jobs against the ledger, and the reminders about jobs that have not ended."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from syftnotify.core.detection import Changes, SilentMark, detect_jobs
from syftnotify.core.kinds import TERMINAL_STATUSES, EventKind, Status
from syftnotify.core.models import AlertRule, Event, Job
from syftnotify.core.reminders import ReminderThresholds, due_reminders
from syftnotify.core.routing import RoutingContext, long_runs
from syftnotify.services.review import call_of
from syftnotify.sources.syftbox.layouts.registry import lacks_end_times
from syftnotify.sources.syftbox.scanner import JobScan, JobScanner
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.scan_cache import ScanCacheFile

log = logging.getLogger(__name__)

_CACHE_INTERVAL = 600.0  # seconds between two writes of the scan cache


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How much of the tree a scan reads."""

    changed_paths: Collection[str] | None = None  # where something has changed; None: scan everything
    skip_archived: bool = False  # leave archived jobs to the next scan
    seconds: float = math.inf  # time limit for reading jobs; the rest is left to the next scan
    progress: Callable[[int, int], None] | None = None  # called with the number of jobs read so far, and of all to read


@dataclass(slots=True)
class DetectedJobs:
    """The result of a scan of the jobs."""

    scan: JobScan
    changes: Changes = field(default_factory=Changes)
    by_submission: dict[tuple[str, str], Job] = field(default_factory=dict)  # those with events; see `submission_of`


class JobChanges:
    """Detects what has changed about the jobs of the tree, and records it in the ledger."""

    def __init__(
        self,
        scanner: JobScanner | None,
        ledger: Ledger,
        cache: ScanCacheFile,
        *,
        scope: str,
        thresholds: ReminderThresholds,
    ) -> None:
        """`scanner` is None if jobs are not monitored; `scope` is the name of the baseline in the ledger."""
        self._scanner = scanner
        self._ledger = ledger
        self._cache = cache
        self._cache_due_at = 0.0  # when the cache is written next, in seconds since 1970
        self._scope = scope
        self._thresholds = thresholds
        self._unfinished: dict[str, tuple[Job, float]] = {}  # jobs that have not ended, and since when with this status
        self._unreadable: dict[str, tuple[Job, float]] = {}  # jobs that have been so for long, and since when
        self._has_scanned = False

    @property
    def baseline_scope(self) -> str:
        """The ledger's name of the baseline of jobs; empty if jobs are not monitored."""
        return self._scope if self._scanner else ""

    @property
    def has_scanned(self) -> bool:
        """Whether a scan was recorded since the start, and since the last `clear`."""
        return self._has_scanned

    @property
    def has_baseline(self) -> bool:
        """Whether the baseline of jobs is recorded."""
        return bool(self._ledger.baseline(self._scope))

    @property
    def unfinished(self) -> Mapping[str, tuple[Job, float]]:
        """The readable jobs that have not ended, by entity, and since when each has had its status."""
        return self._unfinished

    @property
    def waiting(self) -> Mapping[str, tuple[Job, float]]:
        """The jobs that wait for review, by entity, with those that cannot be read; and since when."""
        waiting = {entity: pair for entity, pair in self._unfinished.items() if pair[0].status is Status.WAITING}
        return {**waiting, **self._unreadable}

    def count(self) -> JobScan:
        """Scan without detecting anything."""
        if self._scanner is None:
            return JobScan()
        found = self._scanner.scan()
        self._scanner.accept()
        return found

    def clear(self) -> None:
        """Read all jobs again, after a loss of ledger or outbox."""
        self._has_scanned = False
        if self._scanner is not None:
            self._scanner.invalidate_all()

    def restore(self) -> None:
        """Restore the archived jobs of the last process from the scan cache, before the first scan."""
        if self._scanner is not None:
            self._scanner.restore(self._cache.load(self._ledger.revision), self._ledger.unstable_entities())

    def invalidate(self, entities: Collection[str]) -> None:
        """Read these jobs again at the next scan."""
        if self._scanner is not None and entities:
            self._scanner.invalidate(entities)

    def record_missing_tree(self) -> None:
        """Record that the whole tree is missing: jobs that reappear may be incomplete at first."""
        self.invalidate(self._ledger.record_vanished(lacks_end_times))

    def detect(
        self, options: ScanOptions, now: float, *, last_notified: Mapping[str, EventKind], dry_run: bool
    ) -> DetectedJobs:
        """Scan the tree. `last_notified` has the last kind of each entity after the ledger was lost."""
        found = DetectedJobs(JobScan())
        if self._scanner is not None:
            on_jobs = partial(self._add, found, now, last_notified, dry_run)
            found.scan = self._scanner.scan(
                changed_paths=options.changed_paths,
                skip_archived=options.skip_archived,
                seconds=options.seconds,
                on_jobs=on_jobs,
                progress=options.progress,
            )
        for entity in found.scan.vanished:
            self._unfinished.pop(entity, None)
            self._unreadable.pop(entity, None)
        return found

    def _add(
        self,
        found: DetectedJobs,
        now: float,
        last_notified: Mapping[str, EventKind],
        dry_run: bool,
        jobs: list[Job],
    ) -> None:
        """Add the changes of `jobs` to `found`. Jobs without events are not kept: a baseline scan reads very many."""
        new = detect_jobs(jobs, self._ledger, now=now, baseline=not self.has_baseline, last_notified=last_notified)
        if not dry_run:
            record_marks(self._ledger, new.marks)
        found.changes.add(new)
        submissions = set(map(submission_of, new.events))
        found.by_submission |= {key: job for job in jobs if (key := (job.entity, job.submission_id)) in submissions}
        for job in jobs:
            before = self._unfinished.pop(job.entity, None)
            if job.is_readable and job.status not in TERMINAL_STATUSES:
                self._unfinished[job.entity] = job, now if before is None or _has_changed(before[0], job) else before[1]
            unreadable = self._unreadable.pop(job.entity, None)
            is_known = job.entity in self._unfinished
            if "unreadable" in job.details and job.status is Status.WAITING and not is_known:
                self._unreadable[job.entity] = job, now if unreadable is None else unreadable[1]

    def remind(self, changes: Changes, context: RoutingContext, now: float) -> None:
        """Add the reminders that are due; before the baseline they are only recorded."""
        has_rules = any(rule.on_long_run_minutes for rule in context.alerts)
        due = due_reminders(
            self._unfinished.values(),
            self._ledger,
            self._thresholds,
            now=now,
            extra_thresholds=partial(long_runs, context=context) if has_rules else None,
        )
        due = [replace(event, payload={**event.payload, "call": self._call_of(event)}) for event in due]
        if self._scanner is not None and not self.has_baseline:
            changes.marks += [SilentMark(event.entity, event.kind, event.occurrence) for event in due]
        else:
            changes.events += due

    def _call_of(self, event: Event) -> dict[str, Any]:
        """What selects the job of a reminder in the owner's client."""
        return call_of(self._unfinished[event.entity][0])

    def record_vanished(self, vanished: set[str]) -> None:
        """Record jobs that are missing now; the first scan compares all entities."""
        scanner = self._scanner
        if scanner is not None and (vanished or not self._has_scanned):
            self._ledger.record_vanished(
                lambda entity: lacks_end_times(entity) and not scanner.has_job(entity),
                vanished if self._has_scanned else None,
            )

    def presence(self, rules: list[AlertRule]) -> dict[str, bool]:
        """By rule id, whether the only job of the rule is in the tree; empty if jobs are not monitored."""
        return {rule.id: self._scanner.has_job(rule.job) for rule in rules} if self._scanner else {}

    def accept(self, now: float, *, may_cache: bool) -> None:
        """Accept the scan, once it is recorded. Writes the scan cache after the first scan and every ten minutes."""
        is_first, self._has_scanned = not self._has_scanned, True
        if self._scanner is not None:
            self._scanner.accept()
        # A clock that was set back does not delay the next write.
        if is_first or not 0 < self._cache_due_at - now <= _CACHE_INTERVAL:
            self._cache_due_at = now + _CACHE_INTERVAL
            if may_cache:
                self.save_cache()

    def save_cache(self) -> None:
        """Write the scan cache, if it has changed."""
        if self._scanner is not None and self._has_scanned and self._scanner.has_unsaved_changes:
            self._cache.save(self._scanner.snapshot(), self._ledger.revision)


def record_marks(ledger: Ledger, marks: list[SilentMark]) -> None:
    """Record occurrences that need no notification; empties `marks`."""
    for mark in marks:
        ledger.mark_settled(mark.entity, mark.kind, mark.occurrence)
    marks.clear()


def _has_changed(before: Job, job: Job) -> bool:
    return before.status is not job.status or before.submission_id != job.submission_id


def submission_of(event: Event) -> tuple[str, str]:
    """The key of the event's job in `DetectedJobs.by_submission`."""
    return event.entity, str(event.payload.get("submitted_at", ""))
