"""Changes of the files of a submission after its owner was notified of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.code_changes import ChangeType, compare
from syftnotify.core.detection import job_payload, job_routing
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Event, Job
from syftnotify.core.submissions import Submission, SubmissionLog, SubmissionVersion
from syftnotify.services.review import copy_of, review_change
from syftnotify.sources.syftbox.submission_content import (
    SubmissionContent,
    fingerprint_of,
    read_submission,
    submission_signature,
)

# Jobs that one scan compares with their last signature; the others have their turn in the next scans.
_PER_SCAN = 50
_STABLE_SECONDS = 5.0  # files are synced one by one: a change counts once it has lasted this long
_MIN_INTERVAL = 600.0  # seconds between two events about the files of one job that waits
_CHECKED = frozenset({Status.WAITING, Status.APPROVED})
_RAN = frozenset({Status.RUNNING, Status.DONE, Status.FAILED})

_Key = tuple[str, str]  # entity and submission id


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
        self._last = ""  # the entity that was compared last

    def detect(self, unfinished: Mapping[str, Job], changed: Iterable[Job], new: Container[str]) -> FoundFileChanges:
        """Compare some of the `unfinished` jobs (by entity), and all that have `changed` since the last scan.

        The jobs `new` (entities) are left out: the owner is notified of them now. A run may add files, so of a job that
        has started or ended, only the files of the copy are compared.

        Raises:
            StateError: the copies cannot be read.
        """
        found = FoundFileChanges()
        changed = [job for job in changed if job.entity not in new]
        approved = [job for job in changed if job.status is Status.APPROVED]
        jobs = {_key(job): job for job in (*approved, *self._turn(unfinished)) if job.entity not in new}
        due = [job for key, job in jobs.items() if self._is_due(key, job, found)]
        ran = [job for job in changed if job.status in _RAN]
        if due or ran:
            versions = self._submissions.versions([job.entity for job in (*due, *ran)])
            for job in due:
                self._compare(job, versions.get(_key(job)), found)
            for job in ran:
                if version := versions.get(_key(job)):
                    self._compare_started(job, version, found)
        self._forget(unfinished)
        return found

    def _turn(self, unfinished: Mapping[str, Job]) -> Iterator[Job]:
        """The jobs of this scan: the next ones in the order of their entities."""
        waiting = sorted(entity for entity, job in unfinished.items() if job.status in _CHECKED)
        start = next((index for index, entity in enumerate(waiting) if entity > self._last), 0)
        for entity in itertools.islice(itertools.chain(waiting[start:], waiting[:start]), _PER_SCAN):
            self._last = entity
            yield unfinished[entity]

    def _is_due(self, key: _Key, job: Job, found: FoundFileChanges) -> bool:
        """Whether the files of the job have to be read: they are unknown, or their change has lasted."""
        signature, now = submission_signature(job), self._monotonic()
        known = self._signatures.get(key)
        if known == signature:
            self._pending.pop(key, None)
            return False
        if known is not None:
            pending, since = self._pending.get(key, (0, now))
            if pending != signature:
                since = now
            is_early = now - since < _STABLE_SECONDS or now - self._reported.get(key, -math.inf) < _MIN_INTERVAL
            if is_early and job.status is Status.WAITING:
                self._pending[key] = signature, since
                found.rescan_soon = True
                return False
        self._signatures[key] = signature
        self._pending.pop(key, None)
        return True

    def _compare(self, job: Job, version: SubmissionVersion | None, found: FoundFileChanges) -> None:
        if version is not None and fingerprint_of(job) == version.fingerprint:
            return
        content = read_submission(job)
        if not content.count:  # the folder is gone
            return
        if version is not None:
            before = self._submissions.find(*_key(job))
            if before is None or content.fingerprint == version.fingerprint:
                return
            found.events.append(_event(job, version, content, review_change(job, content, before)))
            self._reported[_key(job)] = self._monotonic()
        found.submissions.append(copy_of(job, content))

    def _compare_started(self, job: Job, version: SubmissionVersion, found: FoundFileChanges) -> None:
        content = read_submission(job)
        before = self._submissions.find(*_key(job))
        if before is None or not content.files:
            return
        after = {file.path: file.text for file in content.files if file.path in before.files}
        if any(change.type is not ChangeType.ADDED for change in compare(before.files, after, max_lines=0)):
            kept = replace(content, files=[file for file in content.files if file.path in before.files])
            found.events.append(_event(job, version, content, review_change(job, kept, before)))
            found.submissions.append(copy_of(job, content))

    def _forget(self, unfinished: Mapping[str, Job]) -> None:
        """Drop what is known of jobs that have ended or vanished."""
        if len(self._signatures) > 2 * len(unfinished) + _PER_SCAN:
            current = {_key(job) for job in unfinished.values()}
            self._signatures = {key: value for key, value in self._signatures.items() if key in current}
            self._reported = {key: value for key, value in self._reported.items() if key in current}
            self._pending = {key: value for key, value in self._pending.items() if key in current}


def _key(job: Job) -> _Key:
    return job.entity, job.submission_id


def _event(job: Job, version: SubmissionVersion, content: SubmissionContent, review: dict[str, Any]) -> Event:
    """The event of a change. The time of the replaced copy distinguishes a change that occurs a second time."""
    occurrence = f"{job.submission_id} {content.fingerprint[:12]} {version.recorded_at:.3f}"
    payload = {**job_payload(job), **review}
    return Event(EventKind.JOB_FILES_CHANGED, job.entity, occurrence, payload=payload, routing=job_routing(job))
