"""Layouts B2 to B4 (syft-job 0.1.9 to 0.1.27): empty files called `approved` and `done` are the status.

The files of 0.1.9 (B1) begin with a dot; its jobs count as B2, so that an upgrade of the client changes no entity id.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from syftnotify.sources.syftbox.files.signatures import Signature, regular_file_signature
from syftnotify.sources.syftbox.job_directory import DirectorySpec, JobDirectory, JobLocation
from syftnotify.sources.syftbox.layouts.contract import ReadResult, ScanContext
from syftnotify.sources.syftbox.layouts.marked_jobs import read_marked_job
from syftnotify.sources.syftbox.layouts.spec import LayoutSpec
from syftnotify.sources.syftbox.names import submitter_folders

B2 = LayoutSpec("B2", has_end_marker=True, waiting_status="inbox")  # below R/datasites/<owner>
B3 = LayoutSpec("B3", has_end_marker=True, can_rerun=True, waiting_status="inbox")  # below R/<owner>
# As B3, with one folder for each submitter.
B4 = LayoutSpec("B4", has_end_marker=True, can_rerun=True, shares_logs=True, waiting_status="inbox")

# Files that lie in the folder of a job, and never in the folder of a submitter.
JOB_FILES = frozenset({"config.yaml", "run.sh", "approved", "done", ".approved", ".done", "returncode.txt"})


class MarkerFiles:
    """Jobs with marker files, directly in the job folder."""

    def __init__(self, layout: LayoutSpec, *, allows_dot: bool = False) -> None:
        """`allows_dot` accepts marker files whose names begin with a dot."""
        self._layout = layout
        self._prefixes = ("", ".") if allows_dot else ("",)

    def directories(self, base: str, owner: str, scan: ScanContext) -> Iterator[JobDirectory]:
        yield scan.directory(DirectorySpec(self._layout, base, owner, "", ()))

    def read(self, location: JobLocation, scan: ScanContext) -> ReadResult:
        done, approved = self._marker(location, "done"), self._marker(location, "approved")
        return read_marked_job(
            location, scan, is_approved=bool(done or approved), ended_at=done.mtime if done else None
        )

    def _marker(self, location: JobLocation, name: str) -> Signature | None:
        for prefix in self._prefixes:
            if found := regular_file_signature(os.path.join(location.path, prefix + name)):
                return found
        return None


class SubmitterMarkerFiles(MarkerFiles):
    """Jobs with marker files, in one folder for each submitter."""

    def __init__(self, layout: LayoutSpec, *, submitter: str | None = None) -> None:
        """With `submitter`, only that submitter's jobs."""
        super().__init__(layout)
        self._submitter = submitter

    def directories(self, base: str, owner: str, scan: ScanContext) -> Iterator[JobDirectory]:
        for submitter in submitter_folders(scan.folders(base), only=self._submitter):
            yield scan.directory(DirectorySpec(self._layout, base, owner, submitter, (submitter,)))
