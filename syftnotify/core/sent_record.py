"""The record of another notifier: which events of the tree it has sent, and which ones are still owed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from syftnotify.core.kinds import END_KINDS, EventKind, Status
from syftnotify.core.models import Event, Job
from syftnotify.core.text import timestamp

# The kinds that syft-bg reports. It never sends a rejection.
_REPORTED = frozenset({EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED}) | END_KINDS


@dataclass(frozen=True, slots=True)
class SentRecord:
    """What syft-bg recorded as sent. It knows jobs by their name alone."""

    jobs: Mapping[str, frozenset[EventKind]] = field(default_factory=dict)  # by name
    threads: Mapping[str, str] = field(default_factory=dict)  # by name: Gmail's id of the owner's conversation
    requested: frozenset[str] = frozenset()  # addresses of peers, in lower case
    granted: frozenset[str] = frozenset()
    written_at: float = 0.0  # seconds since 1970: it sent nothing later

    @property
    def is_empty(self) -> bool:
        """Whether it shows that nothing was ever sent, so that a first scan decides what is old."""
        return not (self.jobs or self.requested or self.granted)


class JobFileTimes(Protocol):
    """When files of a job were written on this machine, in seconds since 1970; None if it is not known."""

    def arrived_at(self, job: Job) -> float | None:
        """When its `config.yaml` was written."""

    def changed_at(self, job: Job) -> float | None:
        """When a file was last created in its folders."""


class SentJobs:
    """Decides for all jobs of one tree which of their events were sent."""

    def __init__(self, jobs: Sequence[Job], record: SentRecord, files: JobFileTimes) -> None:
        self._record = record
        self._files = files
        self._layouts = {job.layout for job in jobs if job.name in record.jobs}
        self._covered = {job.entity for job in _covered_jobs(jobs, record)}

    def kinds(self, job: Job) -> frozenset[EventKind]:
        """The kinds that were sent about `job`, as far as the record tells."""
        return self._record.jobs[job.name] if job.entity in self._covered else frozenset()

    def thread(self, job: Job) -> str:
        """Gmail's id of the owner's conversation about `job`; empty if there is none."""
        return self._record.threads.get(job.name, "") if job.entity in self._covered else ""

    def is_settled(self, event: Event, job: Job) -> bool:
        """Whether nothing is owed for `event`, an event of `job`.

        Owed is what happened after the record was written, and what syft-bg would still send: kinds that it reports
        and has not sent. In layouts of which it has recorded no job, because it does not read them, older events are
        settled, except those of jobs that wait for their owner.
        """
        if self._was_sent(event, job):
            return not self._is_repeated(event, job)
        if self._is_later(event, job) or (event.kind in _REPORTED and job.layout in self._layouts):
            return False
        return not (event.kind is EventKind.JOB_SUBMITTED and job.status is Status.WAITING)

    def _was_sent(self, event: Event, job: Job) -> bool:
        kinds = self.kinds(job)
        if event.kind in END_KINDS and not job.has_end_times:  # releases that read these layouts know one end only
            return not END_KINDS.isdisjoint(kinds)
        return event.kind in kinds

    def _is_repeated(self, event: Event, job: Job) -> bool:
        """Whether an event of a kind that was sent is a later one: of a rerun, or of another submission."""
        happened_at = timestamp(event.at)
        is_later = happened_at is not None and happened_at > self._record.written_at
        if event.kind is not EventKind.JOB_SUBMITTED:
            return is_later
        # The clock of the submitter's machine set the time of a submission, and it may be wrong.
        return is_later and self._is_after_record(self._files.arrived_at(job))

    def _is_later(self, event: Event, job: Job) -> bool:
        """Whether the event happened after the record was written, or may have."""
        if event.kind is EventKind.JOB_SUBMITTED:
            return self._is_after_record(self._files.arrived_at(job))
        happened_at = timestamp(event.at)
        return self._is_after_record(self._files.changed_at(job) if happened_at is None else happened_at)

    def _is_after_record(self, moment: float | None) -> bool:
        return moment is None or moment > self._record.written_at


def _covered_jobs(jobs: Iterable[Job], record: SentRecord) -> list[Job]:
    """The jobs that the record is about.

    Of several jobs with one name, syft-bg sends mail about the first one only. A name without a conversation was
    recorded at its first start, for every job that existed.
    """
    by_name: dict[str, list[Job]] = {}
    for job in jobs:
        if job.name in record.jobs:
            by_name.setdefault(job.name, []).append(job)
    covered = []
    for name, named in by_name.items():
        named.sort(key=lambda job: (job.submission_id, job.entity))
        if name in record.threads:
            covered.append(named[0])
        else:
            covered += [
                job for job in named if (timestamp(job.submission_id) or 0.0) <= record.written_at or len(named) == 1
            ]
    return covered
