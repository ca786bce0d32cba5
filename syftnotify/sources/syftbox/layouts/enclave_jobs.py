"""Jobs of an enclave (syft-enclave): several owners approve each, in one file per owner beside `state.yaml`.

`<owner>_approval_state.json` has the keys `party`, `status` (pending, approved or rejected) and `approved_at`. The
client leaves `state.yaml` at `pending` until the job runs, and never writes `approved_at` there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from syftnotify.core.identifiers import is_address
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Approval, Fact
from syftnotify.sources.syftbox.details import time_text
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath
from syftnotify.sources.syftbox.layouts.job_reading import JobReading
from syftnotify.sources.syftbox.names import looks_like_email

_SUFFIX = "_approval_state.json"
_MAX_FILES = 1000  # in the folder of a job
_MAX_PARTIES = 50
_CAP = 64 * 1024  # bytes
_STATUSES = {"approved": Status.APPROVED, "rejected": Status.REJECTED}  # any other: not decided


def is_enclave_job(config: dict[str, Any]) -> bool:
    """Whether several owners have to approve the job with this `config.yaml`."""
    return config.get("job_type") == "enclave"


def read_approvals(reading: JobReading) -> tuple[Approval, ...] | None:
    """The approvals of a job, by address; None while one of the files may still be being written."""
    location = reading.location
    found = []
    for name in _file_names(os.path.join(location.base, *location.results)):
        party = name.removesuffix(_SUFFIX)
        try:
            content, size = read_beneath(location.base, (*location.results, name), cap=_CAP)
            loaded = json.loads(content) if size <= _CAP else None
        except FileNotFoundError:
            continue
        except (OSError, UnreadableError, ValueError, RecursionError):
            loaded = None
        if not isinstance(loaded, dict):
            if not reading.is_unchanged(location.results, name):
                return None
            loaded = {}
        status = loaded.get("status")
        decided = _STATUSES.get(status, Status.WAITING) if isinstance(status, str) else Status.WAITING
        found.append(Approval(party.lower(), decided, time_text(loaded.get("approved_at"))))
    return tuple(found)


def status_by_approvals(status: Status, approvals: tuple[Approval, ...], party: str) -> Status:
    """The status of a job whose `state.yaml` has `status`: for `party`, or for all owners if it is empty."""
    if status is not Status.WAITING or not approvals:
        return status
    if any(each.status is Status.REJECTED for each in approvals):
        return Status.REJECTED
    needed = [each for each in approvals if not party or each.party == party]
    return Status.APPROVED if all(each.status is Status.APPROVED for each in needed) else Status.WAITING


def approval_facts(
    state_status: Status, approvals: tuple[Approval, ...], submission_id: str, *, is_complete: bool
) -> Iterator[Fact]:
    """The facts of the approvals. `state.yaml` has no time of them, so the submission identifies them.

    Args:
        state_status: the status in `state.yaml`.
        approvals: those that are here.
        submission_id: that of the job.
        is_complete: all approvals are here. On an owner's machine, only the own one is.
    """
    given = [each.at for each in approvals if each.status is Status.APPROVED]
    is_approved = is_complete and bool(approvals) and len(given) == len(approvals)
    if is_approved or state_status in {Status.APPROVED, Status.RUNNING, Status.DONE, Status.FAILED}:
        yield Fact(EventKind.JOB_APPROVED, submission_id, at=max(given, default=""))
    refused = [each.at for each in approvals if each.status is Status.REJECTED]
    if refused or state_status is Status.REJECTED:
        yield Fact(EventKind.JOB_REJECTED, submission_id, at=min(refused, default=""))


def _file_names(folder: str) -> list[str]:
    """The sorted names of the approval files in `folder`."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MAX_FILES) if entry.name.endswith(_SUFFIX)]
    except OSError:
        return []
    parties = ((name, name.removesuffix(_SUFFIX)) for name in names)
    return sorted(name for name, party in parties if looks_like_email(party) and is_address(party))[:_MAX_PARTIES]
