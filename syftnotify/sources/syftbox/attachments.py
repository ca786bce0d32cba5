"""What a run has left behind, for messages: the end of stderr, the line of code that failed, its outputs."""

from __future__ import annotations

from typing import Any

from syftnotify.core.failure_output import Frame, analyze_failure
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Job
from syftnotify.core.text import escape_block
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath
from syftnotify.sources.syftbox.layouts.registry import layout_spec
from syftnotify.sources.syftbox.layouts.results import read_result
from syftnotify.sources.syftbox.names import relative_parts
from syftnotify.sources.syftbox.run_outputs import outputs_of
from syftnotify.sources.syftbox.submission_content import FILE_CAP

STDERR_CAP = 16 * 1024  # bytes of the end of stderr
_EXCERPT_LINES = 2  # lines of code before and after the one that failed
_MAX_LINE = 400  # characters of such a line


def attachments_of(job: Job, kind: EventKind) -> dict[str, Any]:
    """The JSON that is added to the payload of an event of `kind`, which ends a run.

    A failure has `stderr`, `stderr_cut`, `shares_logs` (whether the submitter can read the logs), and if its traceback
    names a line of the job's own code `excerpt`, the lines around it, a list of {number, text}. A success has what
    `outputs_of` returns.
    """
    if kind in {EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT}:
        return _stderr(job)
    if kind is EventKind.JOB_COMPLETED:
        return outputs_of(job)
    return {}


def _stderr(job: Job) -> dict[str, Any]:
    spec = layout_spec(job.layout)
    found: dict[str, Any] = {
        "stderr": "",
        "stderr_cut": False,
        "shares_logs": spec.shares_logs,
        "can_rerun": spec.can_rerun,
    }
    try:
        content = read_result(job.base, job.results, "stderr.txt", spec, cap=STDERR_CAP + 1)
    except (FileNotFoundError, UnreadableError):
        return found
    found["stderr"] = text = escape_block(content[-STDERR_CAP:].decode("utf-8", "replace"))
    found["stderr_cut"] = len(content) > STDERR_CAP
    frame = analyze_failure(text).frame
    if frame is not None and (excerpt := _excerpt(job, frame)):
        found["excerpt"] = excerpt
    return found


def _excerpt(job: Job, frame: Frame) -> list[dict[str, Any]]:
    """The lines around `frame` in the job's code; empty if its file is not one of the job's."""
    for parts in _places(job, frame.path):
        try:
            content, _ = read_beneath(job.base, (*job.parts, *parts), cap=FILE_CAP, allow_hard_links=False)
        except (FileNotFoundError, UnreadableError):
            continue
        lines = escape_block(content.decode("utf-8", "replace")).split("\n")
        if not 0 < frame.line <= len(lines):
            return []
        first = max(1, frame.line - _EXCERPT_LINES)
        last = min(len(lines), frame.line + _EXCERPT_LINES)
        return [{"number": number, "text": lines[number - 1][:_MAX_LINE]} for number in range(first, last + 1)]
    return []


def _places(job: Job, path: str) -> list[tuple[str, ...]]:
    """Where the file of a traceback may be in the job's folder: its path may be absolute, or relative to the code."""
    inside = "/".join(job.parts)
    relative = relative_parts(path.rpartition(f"/{inside}/")[2] if f"/{inside}/" in path else path.removeprefix("./"))
    return [] if relative is None else [relative, ("code", *relative)]
