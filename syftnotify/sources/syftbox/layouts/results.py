"""What a run leaves behind: logs, the return code, and how the run ended."""

from __future__ import annotations

from syftnotify.core.kinds import EventKind
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath
from syftnotify.sources.syftbox.job_directory import JobLocation
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec

TIMEOUT_LINE = b"--- PROCESS TIMED OUT ---"  # written by syft-job at the end of a log
TIMEOUT_CODE = -1  # the return code after a timeout, and after some other failures
_LOG_TAIL = 4096  # bytes


def read_result(
    base: str, results: tuple[str, ...], name: str, layout: LayoutSpec, *, cap: int, allow_hard_links: bool = False
) -> bytes:
    """The last `cap` bytes of the file `name` of a run.

    `results` is the path of its folder below `base`. syft-job 0.1.3 and 0.1.4 wrote it into the layout's log folder.

    Raises:
        FileNotFoundError, UnreadableError: as in `read_beneath`.
    """
    try:
        return read_beneath(base, (*results, name), cap=cap, tail=True, allow_hard_links=allow_hard_links)[0]
    except FileNotFoundError:
        if not layout.log_folder:
            raise
        parts = (*results, layout.log_folder, name)
        return read_beneath(base, parts, cap=cap, tail=True, allow_hard_links=allow_hard_links)[0]


def read_return_code(location: JobLocation) -> int | None:
    """The number in returncode.txt; None if there is none."""
    try:
        # A file with hard links is read, too: only a number is used, and without one the run would count as completed.
        content = read_result(
            location.base, location.results, "returncode.txt", location.layout, cap=32, allow_hard_links=True
        )
        return int(content.decode("ascii"))
    except (OSError, UnreadableError, ValueError):
        return None


def end_kind(location: JobLocation, return_code: int | None) -> EventKind:
    """The kind of end that a return code stands for. A missing code counts as success."""
    if not return_code:
        return EventKind.JOB_COMPLETED
    if return_code == TIMEOUT_CODE and _has_timeout_line(location):
        return EventKind.JOB_TIMEOUT
    return EventKind.JOB_FAILED


def _has_timeout_line(location: JobLocation) -> bool:
    for name in ("stderr.txt", "stdout.txt"):
        try:
            tail = read_result(location.base, location.results, name, location.layout, cap=_LOG_TAIL)
        except (OSError, UnreadableError):
            continue
        if TIMEOUT_LINE in tail:
            return True
    return False
