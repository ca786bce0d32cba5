"""Steps that all layouts share when they read a job."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import UNREADABLE, Fact, Job
from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.signatures import MISSING, signature
from syftnotify.sources.syftbox.files.yaml_reader import read_yaml
from syftnotify.sources.syftbox.job_directory import JobLocation
from syftnotify.sources.syftbox.layouts.contract import ReadResult, ScanContext

# A submission whose files have not all arrived is reported after this time, marked incomplete. So is one with a file
# that stays unreadable, because a client may still be writing it.
ARRIVAL_SECONDS = 60.0
CONFIG_NAME = "config.yaml"


class JobReading:
    """One job while it is read; `result` is returned to the scanner."""

    def __init__(self, location: JobLocation, scan: ScanContext) -> None:
        self.location = location
        self.scan = scan
        self.result = ReadResult()

    def load(self, folder: tuple[str, ...], name: str) -> tuple[dict[str, Any], str]:
        """The mapping in the YAML file `name`, and why it cannot be read (empty if it can).

        `folder` is relative to the owner's job folder. A file that cannot be read is an empty mapping; so is a missing
        one, which is an error only for config.yaml.
        """
        try:
            return read_yaml(self.location.base, (*folder, name), self.scan.dir_fds), ""
        except FileNotFoundError:
            return {}, f"{name}: gone while the job was read" if name == CONFIG_NAME else ""
        except UnreadableError as error:
            return {}, f"{name}: {error}"

    def is_unchanged(self, folder: tuple[str, ...], name: str) -> bool:
        """Whether an unreadable file has not changed for `ARRIVAL_SECONDS`; False if it is missing."""
        found = signature(os.path.join(self.location.base, *folder, name))
        if found == MISSING:
            return False
        is_unchanged = self.scan.has_lasted(self.location, f"{name} {found}", ARRIVAL_SECONDS, found.mtime)
        self.result.rescan_soon = self.result.rescan_soon or not is_unchanged
        return is_unchanged

    def submission_facts(self, details: dict[str, Any], submission_id: str, *, has_arrived: bool) -> list[Fact]:
        """The fact of the submission, once its files have arrived or `ARRIVAL_SECONDS` are over; updates `details`."""
        if not has_arrived:
            written_at = signature(os.path.join(self.location.path, CONFIG_NAME)).mtime
            if not self.scan.has_lasted(self.location, "arrival", ARRIVAL_SECONDS, written_at):
                self.result.rescan_soon = True
                return []
        details["incomplete"] = not has_arrived
        return [Fact(EventKind.JOB_SUBMITTED, submission_id, at=submission_id)]

    def unreadable_facts(self, details: dict[str, Any], problem: str) -> list[Fact]:
        """The fact of the submission of a job whose config.yaml stays unreadable; updates `details`."""
        if not self.is_unchanged(self.location.parts, CONFIG_NAME):
            return []
        details["unreadable"] = problem
        return [Fact(EventKind.JOB_SUBMITTED, UNREADABLE)]

    def finish(self, status: Status, facts: Iterable[Fact] = (), **fields: Any) -> ReadResult:
        """The result with the job; `fields` are further fields of `Job`."""
        location = self.location
        self.result.job = Job(
            entity=location.entity,
            layout=location.layout.key,
            owner=location.owner,
            submitter=location.submitter,
            name=location.name,
            status=status,
            facts=tuple(facts),
            has_end_times=location.layout.has_end_times,
            base=location.base,
            parts=location.parts,
            results=location.results,
            **{"claimed_submitter": "", **fields},
        )
        return self.result
