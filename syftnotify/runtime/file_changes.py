"""Changes of the files of a submission after its owner was notified of it."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.detection import job_payload, job_routing
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Event, Job
from syftnotify.core.submissions import Submission, SubmissionLog, SubmissionVersion
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
# Seconds between two events about the files of one job. An approved one may run at any moment.
_MIN_INTERVALS = {Status.WAITING: 600.0, Status.APPROVED: 60.0}
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
        self._reported: dict[_Key, float] = {}  # when the last event was detected
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
        if due or ran:
            versions = self._submissions.versions([job.entity for job in (*due, *ran)])
            for job in due:
                self._compare(job, versions.get(_key(job)), found)
            for job in ran:
                if version := versions.get(_key(job)):
                    self._compare_known(job, version, found)
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
            if is_unstable or monotonic - self._reported.get(key, -math.inf) < _MIN_INTERVALS[job.status]:
                self._pending[key] = signature, since
                return False
        self._compared[key] = signature
        return known != signature

    def _has_other_signature(self, key: _Key, job: Job) -> bool:
        """Whether the files of the job have changed in any way since they were compared, or were not compared yet."""
        self._compared[key] = submission_signature(job).value
        return self._signatures.get(key) != self._compared[key]

    def _compare(self, job: Job, version: SubmissionVersion | None, found: FoundFileChanges) -> None:
        """Compare the files of a job that has not run."""
        before = None if version is None else self._submissions.find(*_key(job))
        if version is None or before is None:
            content = read_submission(job)
            if content.count:  # otherwise the folder is gone
                found.submissions.append(copy_of(job, content))
            return
        if _may_have_added(job, version):
            self._compare_known(job, version, found)
        elif _differ(job, before.hashes, hash_submission(job).by_path):
            content = read_submission(job)
            if content.count and _differ(job, before.hashes, content.hashes):
                self._report(job, version, content, before, found)

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
        self._report(job, version, replace(content, files=files, hashes={**deleted, **hashes}), before, found)

    def _report(
        self,
        job: Job,
        version: SubmissionVersion,
        content: SubmissionContent,
        before: Submission,
        found: FoundFileChanges,
    ) -> None:
        found.events.append(_event(job, version, content, review_change(job, content, before)))
        found.submissions.append(copy_of(job, content))
        self._new_reports.add(_key(job))

    def accept(self) -> None:
        """Accept the last comparison, once its events and copies are recorded."""
        self._signatures |= self._compared
        self._reported |= dict.fromkeys(self._new_reports, self._monotonic())
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


def _event(job: Job, version: SubmissionVersion, content: SubmissionContent, review: dict[str, Any]) -> Event:
    """The event of a change. The time of the replaced copy distinguishes a change that occurs a second time."""
    occurrence = f"{job.submission_id} {content.fingerprint[:12]} {version.recorded_at:.3f}"
    payload = {**job_payload(job), **review}
    return Event(EventKind.JOB_FILES_CHANGED, job.entity, occurrence, payload=payload, routing=job_routing(job))
