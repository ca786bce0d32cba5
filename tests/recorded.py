"""Recordings of published clients: the files of each step, and the notifications that they require."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syftnotify.core.identifiers import entity_id
from tests.support import ANA, BO, DATA, OWNER, Sent
from tests.trees import Disk

RECORDINGS = sorted((DATA / "recordings").glob("*.tar.gz"))
LAYOUT = {
    "0.1.3": "A",  # logs in a separate folder
    "0.1.5": "A",
    "0.1.9": "B2",  # B1
    "0.1.12": "B2",
    "0.1.21": "B2",
    "0.1.23": "B3",
    "0.1.26": "B4",
    "0.1.34": "C",  # C1
    "0.1.38": "C",  # C2
    "0.1.40": "D",
}

WAITING_STATUSES = frozenset({"inbox", "received", "pending"})
END_KINDS = frozenset({"done", "failed"})

JobKey = tuple[str, str]  # submitter, name


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recording: the files after it, and the status of the jobs as reported by the release."""

    label: str
    files: Mapping[str, bytes]
    folders: frozenset[str]
    status: Mapping[JobKey, str]


@dataclass(frozen=True, slots=True)
class Recording:
    layout: str
    steps: tuple[Step, ...]

    @property
    def has_submitters(self) -> bool:
        return self.layout in {"B4", "C", "D"}

    @property
    def is_reviewed(self) -> bool:
        """Whether the release has the statuses rejected and failed; in other releases every ended job is `done`."""
        return self.layout in {"C", "D"}

    def entity(self, job: JobKey) -> str:
        return entity_id("job", self.layout, OWNER, job[0] if self.has_submitters else "-", job[1])

    def index_of(self, label: str) -> int:
        return next(number for number, step in enumerate(self.steps) if label in step.label)


def read_recording(path: Path) -> Recording:
    with tarfile.open(path) as archive:
        members = {member.name.removeprefix("./"): member for member in archive.getmembers()}

        def content(name: str) -> bytes:
            opened = archive.extractfile(members[name])
            assert opened is not None
            return opened.read()

        manifest: dict[str, Any] = json.loads(content("manifest.json"))
        assert manifest["owner"] == OWNER
        steps = []
        for step in manifest["steps"]:
            prefix = f"{step['step']}/SyftBox/"
            below = {name: member for name, member in members.items() if name.startswith(prefix) and name != prefix}
            steps.append(
                Step(
                    step["step"],
                    {name.removeprefix(prefix): content(name) for name, member in below.items() if member.isfile()},
                    frozenset(name.removeprefix(prefix) for name, member in below.items() if member.isdir()),
                    {(job["ds"], job["name"]): job["status"] for job in step["jobs"]},
                )
            )
    return Recording(LAYOUT[manifest["version"]], tuple(steps))


@dataclass(slots=True)
class Player:
    """Replays recordings: changes the files of the tree from one step to the next, in place."""

    disk: Disk
    files: dict[str, bytes] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()

    def play(self, step: Step) -> None:
        root = self.disk.root
        for name in sorted(step.folders):
            self.disk.make_folder(root / name)
        for name, content in step.files.items():
            if self.files.get(name) != content:
                self.disk.write(root / name, content)
        for name in self.files.keys() - step.files.keys():
            self.disk.remove(root / name)
        for name in sorted(self.folders - step.folders, reverse=True):
            self.disk.remove(root / name)
        self.files, self.folders = dict(step.files), step.folders


@dataclass(slots=True)
class Oracle:
    """Computes the required notifications from the job list of the release and the built-in routes."""

    recording: Recording
    allowed: str = ""  # suffix of the addresses in recipients.allow
    notified: dict[JobKey, list[str]] = field(default_factory=dict)
    peers: set[str] = field(default_factory=set)

    def baseline(self, step: Step) -> list[JobKey]:
        """Count everything as notified, as the baseline does; returns the jobs of the catch-up digest."""
        self.expect(step)
        return [job for job, status in step.status.items() if status in WAITING_STATUSES]

    def expect(self, step: Step) -> Counter[Sent]:
        """The mails that `step` requires in addition to earlier ones."""
        owed: Counter[Sent] = Counter()
        for job, status in step.status.items():
            known = self.notified.setdefault(job, [])
            if status not in END_KINDS:  # a rerun, whose end is notified again
                known[:] = [kind for kind in known if kind not in {"job_completed", "job_failed"}]
            for kind in self._facts(step, job, status):
                if kind not in known:
                    known.append(kind)
                    owed.update((kind, *recipient) for recipient in self._recipients(kind, job))
        for peer in {ANA, BO} - self.peers:
            if any(f"/inbox/{peer}/" in name or f"/job/{peer}/" in name for name in step.files):
                self.peers.add(peer)
                owed["peer_granted", "submitter", peer] += 1
        return owed

    def _facts(self, step: Step, job: JobKey, status: str) -> Iterator[str]:
        yield "job_submitted"
        if status in {"approved", "running", *END_KINDS}:
            yield "job_approved"
        if status == "rejected":
            yield "job_rejected"
        if status == "failed":
            yield "job_failed"
        if status == "done":
            yield "job_failed" if self._has_failed(step, job) else "job_completed"

    def _has_failed(self, step: Step, job: JobKey) -> bool:
        """In layouts A and B every ended job is `done`; the return code decides."""
        folder = f"/{job[0]}/{job[1]}" if self.recording.has_submitters else f"/{job[1]}"
        suffixes = (f"{folder}/returncode.txt", f"{folder}/logs/returncode.txt")
        codes = [content for name, content in step.files.items() if name.endswith(suffixes)]
        return not self.recording.is_reviewed and any(code.strip() != b"0" for code in codes)

    def _recipients(self, kind: str, job: JobKey) -> Iterator[tuple[str, str]]:
        if kind not in {"job_approved", "job_rejected"}:
            yield "owner", OWNER
        if self.recording.has_submitters or (self.allowed and job[0].endswith(self.allowed)):
            yield "submitter", job[0]
