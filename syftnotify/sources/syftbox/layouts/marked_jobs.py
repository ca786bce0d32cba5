"""Read a job of a layout without state.yaml: marker files in its folder, or the place of the folder, are its status."""

from __future__ import annotations

import os
from typing import Any

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import EndMark, Fact
from syftnotify.sources.syftbox.details import MAX_REQUEST, job_details, time_text
from syftnotify.sources.syftbox.files.signatures import MISSING, regular_file_signature, signature
from syftnotify.sources.syftbox.job_directory import JobLocation
from syftnotify.sources.syftbox.layouts.contract import END_CONDITION, ReadResult, ScanContext
from syftnotify.sources.syftbox.layouts.job_reading import CONFIG_NAME, JobReading
from syftnotify.sources.syftbox.layouts.results import end_kind, read_return_code

# An end without a return code is reported once its marker is this old: some releases write the marker first.
END_SECONDS = 5.0
_RETURN_CODE = "returncode.txt"


def read_marked_job(
    location: JobLocation, scan: ScanContext, *, is_approved: bool, ended_at: float | None
) -> ReadResult:
    """Read the job.

    Args:
        location: the place of the job.
        scan: the scan in progress.
        is_approved: whether the owner's client has marked it as approved or ended.
        ended_at: when it was marked as ended, in seconds since 1970; None: it was not.
    """
    reading = JobReading(location, scan)
    config, problem = reading.load(location.parts, CONFIG_NAME)
    details = job_details(config, {})
    if problem:
        reading.result.unreadable = problem
        facts = [] if is_approved else reading.unreadable_facts(details, problem)
        return reading.finish(Status.WAITING, facts, is_readable=False, details=details)
    submission_id = time_text(config.get("submitted_at"))
    has_arrived = is_approved or regular_file_signature(os.path.join(location.path, "run.sh")) is not None
    facts = reading.submission_facts(details, submission_id, has_arrived=has_arrived)
    status = Status.WAITING
    if is_approved:
        facts.append(Fact(EventKind.JOB_APPROVED, submission_id))
        status = Status.APPROVED
    if ended_at is not None:
        kind = _end(reading, ended_at, details)
        if kind is None:
            reading.result.rescan_soon = True
        else:
            facts.append(Fact(kind, submission_id, counted=True))
            status = Status.DONE if kind is EventKind.JOB_COMPLETED else Status.FAILED
    return reading.finish(
        status,
        facts,
        submission_id=submission_id,
        claimed_submitter=_claim(config),
        ended=ended_at is not None,
        end_mark=None if ended_at is None else _end_mark(location, ended_at),
        details=details,
    )


def _end_mark(location: JobLocation, ended_at: float) -> EndMark | None:
    """The mark of the end; None in layouts whose marker is not a file, and without a return code."""
    written = signature(os.path.join(location.path, _RETURN_CODE))
    if written == MISSING or not location.layout.has_end_marker:
        return None
    submission = signature(os.path.join(location.path, CONFIG_NAME))
    return EndMark(submission.mtime_ns, round(ended_at * 1e9), written.mtime_ns)


def _end(reading: JobReading, ended_at: float, details: dict[str, Any]) -> EventKind | None:
    """How the job ended, or None while its return code may still be missing; updates `details`."""
    location = reading.location
    written_at = signature(os.path.join(location.path, _RETURN_CODE)).mtime
    code = read_return_code(location)
    # A rerun leaves the old code in place; the new run overwrites it after it has created its marker.
    is_stale = location.layout.has_end_marker and written_at < ended_at
    if (code is None or is_stale) and not reading.scan.has_lasted(location, END_CONDITION, END_SECONDS, ended_at):
        return None
    details["return_code"] = code
    return end_kind(location, code)


def _claim(config: dict[str, Any]) -> str:
    claim = config.get("submitted_by")
    return claim[:MAX_REQUEST] if isinstance(claim, str) else ""
