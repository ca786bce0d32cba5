"""Layout A (syft-job 0.1.0 to 0.1.8): the folder that contains a job is its status."""

from __future__ import annotations

from collections.abc import Iterator

from syftnotify.sources.syftbox.files.signatures import signature
from syftnotify.sources.syftbox.job_directory import DirectorySpec, JobDirectory, JobLocation
from syftnotify.sources.syftbox.layouts.contract import ReadResult, ScanContext
from syftnotify.sources.syftbox.layouts.marked_jobs import read_marked_job
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec
from syftnotify.sources.syftbox.names import looks_like_email

A = LayoutSpec("A", waiting_status="inbox", log_folder="logs")

_WAITING, _APPROVED, _DONE = "inbox", "approved", "done"


class StageFolders:
    """Jobs in `inbox/`, `approved/` and `done/`."""

    def directories(self, base: str, owner: str, scan: ScanContext) -> Iterator[JobDirectory]:
        for stage in (_WAITING, _APPROVED, _DONE):
            # A folder named by an address belongs to the layouts with a folder per submitter.
            yield scan.directory(
                DirectorySpec(A, base, owner, "", (stage,), accepts=lambda name: not looks_like_email(name))
            )

    def read(self, location: JobLocation, scan: ScanContext) -> ReadResult:
        stage = location.parts[0]
        moved_at = signature(location.path).mtime
        return read_marked_job(
            location, scan, is_approved=stage != _WAITING, ended_at=moved_at if stage == _DONE else None
        )
