"""The contract between the scanner and the layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from syftnotify.core.models import Job
from syftnotify.sources.syftbox.files.dir_fds import DirFdCache
from syftnotify.sources.syftbox.job_directory import DirectorySpec, JobDirectory, JobLocation

END_CONDITION = "end"  # the condition that a job has ended, in `ScanContext.has_lasted`


@dataclass(slots=True)
class ReadResult:
    """The outcome of reading one job."""

    job: Job | None = None
    unreadable: str = ""  # why a file has no usable content; the job is read again when the file changes
    rescan_soon: bool = False  # a fact is not certain yet and becomes so by the passing of time alone
    is_tracked: bool = True  # False: other files than the tracked ones matter; the job is read at each scan


class ScanContext(Protocol):
    """What a layout may use of the scan in progress."""

    @property
    def now(self) -> float:
        """Seconds since 1970."""

    @property
    def dir_fds(self) -> DirFdCache:
        """The folders of the tree that stay open during the scan."""

    def folders(self, path: str) -> tuple[str, ...]:
        """The sorted names of the folders in `path`; empty if there is no such folder."""

    def directory(self, spec: DirectorySpec) -> JobDirectory:
        """The job directory at that place, with its names up to date."""

    def has_lasted(self, location: JobLocation, condition: str, seconds: float, since: float) -> bool:
        """Whether `condition` (any text) has been true of the job for that long.

        Measured from the timestamp `since` of a file (seconds since 1970), or by how long this process has observed the
        condition, because the clock may be set.
        """


class Layout(Protocol):
    """How the jobs of one family are found and read."""

    def directories(self, base: str, owner: str, scan: ScanContext) -> Iterator[JobDirectory]:
        """Every directory below the owner's job folder `base` that may contain jobs."""

    def read(self, location: JobLocation, scan: ScanContext) -> ReadResult:
        """Read a job; only called when its primary or secondary file may have changed."""
