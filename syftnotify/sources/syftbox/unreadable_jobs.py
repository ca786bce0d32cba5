"""One warning for each job with a file that stays unreadable."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

from syftnotify.core.text import escape
from syftnotify.sources.syftbox.job_directory import JobDirectory
from syftnotify.sources.syftbox.job_index import JobRef

WARNING_SECONDS = 600.0  # ten minutes, as the warning says


@dataclass(slots=True)
class _Unreadable:
    reason: str
    since: float  # on the monotonic clock
    is_reported: bool = False


class UnreadableJobs:
    """The jobs whose files were unreadable when they were last read."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._jobs: dict[JobRef, _Unreadable] = {}

    def note(self, ref: JobRef, reason: str) -> None:
        """Note the outcome of reading a job; an empty reason means that all files were readable."""
        if not reason:
            self._jobs.pop(ref, None)
        elif ref not in self._jobs:
            self._jobs[ref] = _Unreadable(reason, self._monotonic())

    def new_problems(self, directories: Container[JobDirectory]) -> Iterator[str]:
        """A log line for each job that has been unreadable for `WARNING_SECONDS`, once.

        Jobs outside `directories`, which are those of the last scan, are forgotten.
        """
        for (name, directory), job in list(self._jobs.items()):
            if directory not in directories or name not in directory:
                del self._jobs[name, directory]
            elif not job.is_reported and self._monotonic() - job.since >= WARNING_SECONDS:
                job.is_reported = True
                path = escape(directory.location(name).path)
                reason = escape(job.reason)
                yield f"{path} has been unreadable for ten minutes ({reason}); check the file's content and mode"
