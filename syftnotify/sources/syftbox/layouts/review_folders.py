"""Layouts C (syft-job 0.1.28 to 0.1.39) and D (0.1.40): the owner's `review` folder holds a `state.yaml` for each job.

The submitter writes below `inbox`. In D there is a folder such as `v1` between the submitter's folder and the jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Fact
from syftnotify.sources.syftbox.details import job_details, text_prefix, time_text
from syftnotify.sources.syftbox.files.signatures import MISSING, signature
from syftnotify.sources.syftbox.job_directory import DirectorySpec, JobDirectory, JobLocation
from syftnotify.sources.syftbox.layouts.contract import ReadResult, ScanContext
from syftnotify.sources.syftbox.layouts.enclave_jobs import (
    approval_facts,
    is_enclave_job,
    read_approvals,
    status_by_approvals,
)
from syftnotify.sources.syftbox.layouts.job_reading import CONFIG_NAME, JobReading
from syftnotify.sources.syftbox.layouts.results import TIMEOUT_CODE, end_kind
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec
from syftnotify.sources.syftbox.names import relative_parts, submitter_folders

C = LayoutSpec(
    "C",
    has_file_list=True,
    has_end_times=True,
    has_review_folder=True,
    shows_running=True,
    shares_logs=True,
    can_reject=True,
    acts_by_name=True,
    can_rerun=True,
    waiting_status="pending",
)
D = replace(C, key="D", names_by_path=True, acts_by_name=False)

_STATE_NAME = "state.yaml"
_STATUSES = {  # `status` in state.yaml
    "received": Status.WAITING,
    "pending": Status.WAITING,
    "approved": Status.APPROVED,
    "running": Status.RUNNING,
    "rejected": Status.REJECTED,
    "done": Status.DONE,
    "failed": Status.FAILED,
}


class ReviewFolders:
    """Jobs in `inbox/<submitter>/`, with their status in `review/<submitter>/`."""

    def __init__(self, *, submitter: str | None = None, party: str = "") -> None:
        """With `submitter`, only that submitter's jobs; with `party`, only those that this owner has to approve."""
        self._submitter = submitter
        self._party = party.lower()

    def directories(self, base: str, owner: str, scan: ScanContext) -> Iterator[JobDirectory]:
        for submitter in submitter_folders(scan.folders(os.path.join(base, "inbox")), only=self._submitter):
            flat = scan.directory(DirectorySpec(C, base, owner, submitter, ("inbox", submitter), ("review", submitter)))
            yield flat
            # `v1` may be the version folder of D, the name of a job of C, or both.
            for version in flat.version_folders:
                yield scan.directory(
                    DirectorySpec(
                        D, base, owner, submitter, ("inbox", submitter, version), ("review", submitter, version)
                    )
                )

    def read(self, location: JobLocation, scan: ScanContext) -> ReadResult:
        reading = JobReading(location, scan)
        config, config_problem = reading.load(location.parts, CONFIG_NAME)
        approvals = read_approvals(reading) if is_enclave_job(config) else ()
        if approvals is None:
            return reading.finish(Status.WAITING, is_readable=False)
        if self._party and all(each.party != self._party for each in approvals):
            reading.result.is_tracked = not is_enclave_job(config)
            return reading.result
        state, state_problem = reading.load(location.results, _STATE_NAME)
        reading.result.unreadable = state_problem or config_problem
        status = _status(state)
        if status is None or state_problem:
            unknown = f"{_STATE_NAME}: unknown status {text_prefix(state.get('status'), 40)!r}"
            reading.result.unreadable = state_problem or unknown
            if not reading.is_unchanged(location.results, _STATE_NAME):  # it may still be being written
                return reading.finish(Status.WAITING, is_readable=False)
            status = _status_by_times(state)
        state_status, status = status, status_by_approvals(status, approvals, self._party)
        reading.result.is_tracked = not approvals or status in {Status.DONE, Status.FAILED}
        submission_id = time_text(config.get("submitted_at"))
        details = job_details(config, state)
        facts: list[Fact] = []
        if not config_problem:
            has_arrived = status is not Status.WAITING or _has_arrived(location, details["files"])
            facts += reading.submission_facts(details, submission_id, has_arrived=has_arrived)
            if state_problem:
                details["unreadable"] = state_problem
        elif status is Status.WAITING:
            facts += reading.unreadable_facts(details, config_problem)
        if is_enclave_job(config):
            facts += approval_facts(state_status, approvals, submission_id, is_complete=not self._party)
        else:
            facts += _decision_facts(state, status)
        facts += _run_facts(state, status, details, location)
        return reading.finish(
            status,
            facts,
            submission_id=submission_id,
            ended=status in {Status.DONE, Status.FAILED},
            is_readable=not config_problem and not state_problem,
            approvals=approvals,
            party=self._party,
            details=details,
        )


def _has_arrived(location: JobLocation, files: list[str]) -> bool:
    """Whether every listed file exists: they are synced one by one, and `config.yaml` is not the last."""
    code = os.path.join(location.path, "code")
    paths = (os.path.join(code, *parts) for name in files if (parts := relative_parts(name)))
    return all(signature(path) != MISSING for path in paths)


def _status(state: dict[str, Any]) -> Status | None:
    """The status in state.yaml: WAITING if there is no file, None if the status is missing or unknown."""
    if not state:
        return Status.WAITING
    status = state.get("status")
    return _STATUSES.get(status) if isinstance(status, str) else None


def _status_by_times(state: dict[str, Any]) -> Status:
    """The status according to the other fields of state.yaml, which every client writes."""
    if state.get("completed_at"):
        return Status.FAILED if state.get("return_code") else Status.DONE
    if state.get("rejected_at"):
        return Status.REJECTED
    return Status.APPROVED if state.get("approved_at") else Status.WAITING


def _decision_facts(state: dict[str, Any], status: Status) -> Iterator[Fact]:
    """The owner's decision in state.yaml, from its own time: a scan may miss intermediate states."""
    approved, rejected = time_text(state.get("approved_at")), time_text(state.get("rejected_at"))
    if approved or status in {Status.APPROVED, Status.RUNNING}:
        yield Fact(EventKind.JOB_APPROVED, approved, at=approved)
    if rejected or status is Status.REJECTED:
        yield Fact(EventKind.JOB_REJECTED, rejected, at=rejected)


def _run_facts(state: dict[str, Any], status: Status, details: dict[str, Any], location: JobLocation) -> Iterator[Fact]:
    """The start and the end of a run in state.yaml."""
    completed = time_text(state.get("completed_at"))
    if status is Status.RUNNING:
        yield Fact(EventKind.JOB_STARTED, time_text(state.get("approved_at")), counted=True)
    if status is Status.DONE:
        yield Fact(EventKind.JOB_COMPLETED, completed, at=completed)
    if status is Status.FAILED:
        code = details["return_code"]
        kind = end_kind(location, code) if code == TIMEOUT_CODE else EventKind.JOB_FAILED
        yield Fact(kind, completed, at=completed)
