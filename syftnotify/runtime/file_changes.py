"""Changes of the files of a submission after its owner was notified of it."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.detection import job_payload, job_routing
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Event, Job
from syftnotify.core.submissions import Submission, SubmissionLog, SubmissionVersion
from syftnotify.core.throttle import SlidingWindow
from syftnotify.services.review import copy_of, review_change
from syftnotify.sources.syftbox.layouts.registry import layout_spec
from syftnotify.sources.syftbox.submission_content import (
    SubmissionContent,
    hash_submission,
    is_of_run,
    read_submission,
    submission_signature,
)

# Jobs that one scan compares with their last signature; the others have their turn in the next scans.
_PER_SCAN = 50
_MAX_PENDING = 200  # jobs with a change that has not lasted yet, which every scan compares
_STABLE_SECONDS = 5.0  # files are synced one by one: a change counts once it has lasted this long
_MISSING_SECONDS = 60.0  # the same if files are missing: a sync may delete a file before it replaces it
# Seconds between the first two events about the files of one job; each further interval is twice as long, up to the
# maximum. An approved one may run at any moment.
_MIN_INTERVALS = {Status.WAITING: 600.0, Status.APPROVED: 60.0}
_MAX_INTERVAL = 86_400.0
_PER_MINUTE = 100  # events about waiting jobs of one submitter; further changes are reported later
_CHECKED = frozenset({Status.WAITING, Status.APPROVED})
_RAN = frozenset({Status.RUNNING, Status.DONE, Status.FAILED})
_Key = tuple[str, str]  # entity and submission id
# Jobs that have not ended, by entity, and since when each has had its status.
Unfinished = Mapping[str, tuple[Job, float]]


@dataclass(slots=True)
class FoundFileChanges:
    """The result of one scan."""

    events: list[Event] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)  # copies to store once the events are enqueued
    rescan_soon: bool = False


class FileChanges:
    """Compares the files of jobs that have not run yet with the copies of which the owner was notified.

    A job without a copy gets one: of its files at the first comparison.
    """

    def __init__(self, submissions: SubmissionLog, *, monotonic: Callable[[], float]) -> None:
        self._submissions = submissions
        self._monotonic = monotonic
        self._signatures: dict[_Key, int] = {}  # of the files as compared last
        self._pending: dict[_Key, tuple[int, float]] = {}  # changed signatures, and since when
        self._reported: dict[_Key, tuple[float, int]] = {}  # when the last event was detected, and how many were
        self._recent = SlidingWindow(_PER_MINUTE, 60.0)  # events by submitter
        self._round: deque[str] = deque()  # entities whose turn is still to come
        # What the current scan compared and reported. It counts once the scan is recorded: otherwise the next one finds
        # it again.
        self._compared: dict[_Key, int] = {}
        self._new_reports: set[_Key] = set()

    def detect(
        self, unfinished: Unfinished, changed: Iterable[Job], new: Container[str], now: float
    ) -> FoundFileChanges:
        """Compare some of the `unfinished` jobs, and all that have `changed` since the last scan, at `now`.

        `now` is in seconds since 1970. The jobs `new` (entities) are left out: the owner is notified of them now. A run
        may add files, so of a job that has started or ended, only the files of the copy are compared.

        Raises:
            StateError: the copies cannot be read.
        """
        found = FoundFileChanges()
        self._compared, self._new_reports = {}, set()
        changed = [job for job in changed if job.entity not in new]
        approved = {_key(job): job for job in changed if job.status is Status.APPROVED}
        others = {_key(job): job for job in self._turn(unfinished) if job.entity not in new}
        due = [job for key, job in approved.items() if self._has_other_signature(key, job)]
        due += [job for key, job in others.items() if key not in approved and self._is_due(key, job, found, now)]
        ran = [job for job in changed if job.status in _RAN]
        rejected = [job for job in changed if job.status is Status.REJECTED]
        if due or ran or rejected:
            versions = self._submissions.versions([job.entity for job in (*due, *ran, *rejected)])
            for job in due:
                self._compare(job, versions.get(_key(job)), found)
            for job in ran:
                if version := versions.get(_key(job)):
                    self._compare_known(job, version, found)
            for job in rejected:  # a job that was reported in a digest has no copy to which the decision belongs
                if _key(job) not in versions:
                    self._copy(job, found)
        self._forget(unfinished)
        return found

    def _turn(self, unfinished: Unfinished) -> Iterator[Job]:
        """The jobs of this scan: those with a pending change, and the next ones of the round.

        A round has the jobs that were unfinished when it began.
        """
        if not self._round:
            self._round.extend(unfinished)
        self._pending = {key: value for key, value in self._pending.items() if key[0] in unfinished}
        entities = [entity for entity, _ in itertools.islice(self._pending, _MAX_PENDING)]
        turn = 0
        while self._round and turn < _PER_SCAN:
            entity = self._round.popleft()
            if entity in unfinished and unfinished[entity][0].status in _CHECKED:
                turn += 1
                entities.append(entity)
        return (unfinished[entity][0] for entity in entities)

    def _is_due(self, key: _Key, job: Job, found: FoundFileChanges, now: float) -> bool:
        """Whether the files of the job have to be read: they are unknown, or their change has lasted."""
        signature, changed_at = submission_signature(job)
        known, monotonic = self._signatures.get(key), self._monotonic()
        if known != signature:
            # Without an earlier signature of this process, the times of the files show whether they have just changed.
            is_recent = known is not None or 0 <= now - changed_at < _STABLE_SECONDS
            pending, since = self._pending.get(key, (None, monotonic))
            if pending != signature:
                since = monotonic
            # An approved job may run at any moment. But where a run is not visible, it may be the run itself.
            may_run = job.status is Status.APPROVED and layout_spec(job.layout).shows_running
            is_unstable = is_recent and not may_run and monotonic - since < _STABLE_SECONDS
            found.rescan_soon = found.rescan_soon or (is_unstable and known is not None)
            if is_unstable or self._is_limited(key, job, monotonic):
                self._pending[key] = signature, since
                return False
        self._compared[key] = signature
        return known != signature

    def _is_limited(self, key: _Key, job: Job, monotonic: float) -> bool:
        """Whether an event about the files of the job must wait, because there were others."""
        reported_at, count = self._reported.get(key, (-math.inf, 0))
        interval = min(_MIN_INTERVALS[job.status] * 2 ** max(0, count - 1), _MAX_INTERVAL)
        return monotonic - reported_at < interval or (
            job.status is Status.WAITING and self._recent.is_full(_source(job), monotonic)
        )

    def _has_other_signature(self, key: _Key, job: Job) -> bool:
        """Whether the files of the job have changed in any way since they were compared, or were not compared yet."""
        self._compared[key] = submission_signature(job).value
        return self._signatures.get(key) != self._compared[key]

    def _compare(self, job: Job, version: SubmissionVersion | None, found: FoundFileChanges) -> None:
        """Compare the files of a job that has not run."""
        before = None if version is None else self._submissions.find(*_key(job))
        if version is None or before is None:
            content = self._copy(job, found)
            if content.count and _key(job) in self._signatures:  # the copy is not kept any more
                self._report(job, None, content, None, found)
            return
        if _may_have_added(job, version):
            self._compare_known(job, version, found)
            return
        hashes = hash_submission(job).by_path
        if not _differ(job, before.hashes, hashes) or self._must_wait(job, before.hashes.keys() - hashes.keys()):
            return
        content = read_submission(job)
        if content.count and _differ(job, before.hashes, content.hashes):
            found.submissions.append(copy_of(job, content))
            self._report(job, version, content, before, found)

    def _must_wait(self, job: Job, missing: Collection[str]) -> bool:
        """Whether the change of a waiting job is compared again later: files are missing, or there were many events."""
        key, monotonic = _key(job), self._monotonic()
        signature, since = self._pending.get(key, (self._compared[key], monotonic))
        is_recent = bool(missing) and monotonic - since < _MISSING_SECONDS
        if job.status is not Status.WAITING or not (is_recent or self._recent.is_full(_source(job), monotonic)):
            return False
        del self._compared[key]
        self._pending[key] = signature, since
        return True

    def _copy(self, job: Job, found: FoundFileChanges) -> SubmissionContent:
        """Add a copy of the files of the job; none if its folder is gone."""
        content = read_submission(job)
        if content.count:
            found.submissions.append(copy_of(job, content))
        return content

    def _compare_known(self, job: Job, version: SubmissionVersion, found: FoundFileChanges) -> None:
        """Compare only the files of the copy; a run may have added others, and deleted some."""
        before = self._submissions.find(*_key(job))
        if before is None:
            return
        hashes = hash_submission(job, before.hashes).by_path
        if all(before.hashes.get(path, value) == value for path, value in hashes.items()):
            return
        content = read_submission(job)
        files = [file for file in content.files if file.path in before.hashes]
        deleted = {path: value for path, value in before.hashes.items() if path not in hashes}
        content = replace(content, files=files, hashes={**deleted, **hashes})
        found.submissions.append(copy_of(job, content))
        self._report(job, version, content, before, found)

    def _report(
        self,
        job: Job,
        version: SubmissionVersion | None,
        content: SubmissionContent,
        before: Submission | None,
        found: FoundFileChanges,
    ) -> None:
        found.events.append(_event(job, version, content, review_change(job, content, before)))
        self._new_reports.add(_key(job))
        self._recent.record(_source(job), self._monotonic())

    def accept(self) -> None:
        """Accept the last comparison, once its events and copies are recorded."""
        self._signatures |= self._compared
        for key in self._new_reports:
            self._reported[key] = self._monotonic(), self._reported.get(key, (0.0, 0))[1] + 1
        for key in self._compared:
            self._pending.pop(key, None)
        self._compared, self._new_reports = {}, set()

    def _forget(self, unfinished: Unfinished) -> None:
        """Drop what is known of jobs that have ended or vanished."""
        if len(self._signatures) > 2 * len(unfinished) + _PER_SCAN:
            current = {_key(job) for job, _ in unfinished.values()}
            self._signatures = {key: value for key, value in self._signatures.items() if key in current}
            self._reported = {key: value for key, value in self._reported.items() if key in current}
            self._pending = {key: value for key, value in self._pending.items() if key in current}


def _may_have_added(job: Job, version: SubmissionVersion) -> bool:
    """Whether a run may have added files to the submission: an earlier one, or one that the layout does not show."""
    return version.has_run or (job.status is Status.APPROVED and not layout_spec(job.layout).shows_running)


def _differ(job: Job, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether the files differ. After an approval, files that runs usually add may be those of a run that begins."""
    added = now.keys() - before.keys()
    if job.status is Status.APPROVED:
        added = {path for path in added if not is_of_run(tuple(path.split("/")), job)}
    return bool(added) or any(now.get(path) != value for path, value in before.items())


def _key(job: Job) -> _Key:
    return job.entity, job.submission_id


def _source(job: Job) -> str:
    """The submitter. Those that only a job claims share one limit: a scientist can have any number of names."""
    return job.submitter.lower()


def _event(job: Job, version: SubmissionVersion | None, content: SubmissionContent, review: dict[str, Any]) -> Event:
    """The event of a change. The time of the replaced copy distinguishes a change that occurs a second time."""
    recorded_at = version.recorded_at if version else 0.0
    occurrence = f"{job.submission_id} {content.fingerprint[:12]} {recorded_at:.3f}"
    payload = {**job_payload(job), **review}
    return Event(EventKind.JOB_FILES_CHANGED, job.entity, occurrence, payload=payload, routing=job_routing(job))
