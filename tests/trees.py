"""Writes jobs as the published clients do, for all eight layouts: the same files, in the same order, in place.

docs/layouts.md describes the releases. Modification times come from the given clock, so a test controls the age of
files.
"""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import yaml

from syftnotify.core.identifiers import entity_id
from tests.support import ANA, OWNER

NAME = "analysis"
CODE = "print('the mean of the ages')\n"
RUN_SH = "#!/bin/bash\npython main.py\n"
PERMISSIONS = "syft.pub.yaml"
TIMEOUT_LINE = "--- PROCESS TIMED OUT ---"


@dataclass(slots=True)
class Disk:
    """Writes files in place, as the clients do; modification times come from the clock and are unique."""

    root: Path
    clock: Callable[[], float] = time.time
    _writes: int = 0

    def write(self, path: Path, content: str | bytes) -> None:
        """Write a file in place: an existing one keeps its inode."""
        self.make_folder(path.parent)
        is_new = not os.path.lexists(path)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.set_mtime(path, *([path.parent] if is_new else []))

    def write_yaml(self, path: Path, content: Mapping[str, Any]) -> None:
        self.write(path, yaml.safe_dump(dict(content), sort_keys=True))

    def make_folder(self, path: Path) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        if missing:
            self.set_mtime(*missing, missing[-1].parent)

    def link(self, path: Path, target: Path) -> None:
        self.make_folder(path.parent)
        path.symlink_to(target)
        self.set_mtime(path, path.parent)

    def move(self, old: Path, new: Path) -> None:
        """Rename; a moved folder keeps its modification time."""
        self.make_folder(new.parent)
        old.rename(new)
        self.set_mtime(old.parent, new.parent)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with its content, if it exists."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
        else:
            return
        self.set_mtime(path.parent)

    def set_mtime(self, *paths: Path) -> None:
        self._writes += 1
        at = self._now_us() * 1000
        for path in paths:
            os.utime(path, ns=(at, at), follow_symlinks=False)

    def timestamp(self) -> str:
        """The current time in the format of the clients; unique."""
        self._writes += 1
        at = datetime.fromtimestamp(self._now_us() // 1_000_000, UTC).replace(microsecond=self._now_us() % 1_000_000)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _now_us(self) -> int:
        return int(self.clock() * 1_000_000) + self._writes


def permission(peer: str, access: str, pattern: str = "**") -> dict[str, Any]:
    """The content of a permission file with one rule that gives a peer access."""
    rights: dict[str, list[str]] = {"admin": [], "read": [], "write": []}
    return {"rules": [{"access": {**rights, access: [peer]}, "pattern": pattern}], "terminal": False}


@dataclass
class Tree(ABC):
    """The jobs of one owner in the layout of one release."""

    disk: Disk
    owner: str = OWNER
    adds_peers: bool = True  # whether the owner adds a peer before its first submission, as the clients require

    layout: ClassVar[str]  # as in entity ids
    names_submitter: ClassVar[bool]  # whether the path contains the submitter
    can_reject: ClassVar[bool] = False
    can_rerun: ClassVar[bool] = True
    marks_timeout: ClassVar[bool] = True  # whether a timeout writes a line to a log

    @property
    @abstractmethod
    def base(self) -> Path:
        """The owner's job folder."""

    @abstractmethod
    def job_folder(self, name: str = NAME, by: str = ANA) -> Path:
        """The folder of a submission."""

    def results_folder(self, name: str = NAME, by: str = ANA) -> Path:
        """The folder of the job's state and logs."""
        return self.job_folder(name, by)

    def entity(self, name: str = NAME, by: str = ANA) -> str:
        return entity_id("job", self.layout, self.owner, by if self.names_submitter else "-", name)

    @abstractmethod
    def submit(
        self,
        name: str = NAME,
        by: str = ANA,
        *,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Submit a job: `files` are its code, `config` replaces keys of its config.yaml."""

    @abstractmethod
    def approve(self, name: str = NAME, by: str = ANA) -> None: ...

    def reject(self, name: str = NAME, by: str = ANA, *, reason: str | None = None) -> None:
        raise NotImplementedError(f"layout {self.layout} has no rejection")

    @abstractmethod
    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        """Run an approved job until it ends."""

    def time_out(self, name: str = NAME, by: str = ANA) -> None:
        """Let the job time out: the runner kills it and writes a line to its log."""
        self.run(name, by, code=-1, stdout=f"half\n{TIMEOUT_LINE}\n")

    @abstractmethod
    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        """Write a result without running the job."""

    def rerun(self, name: str = NAME, by: str = ANA) -> None:
        raise NotImplementedError(f"layout {self.layout} has no rerun")

    def grant(self, by: str = ANA) -> None:
        """The owner accepts a peer."""
        raise NotImplementedError(f"layout {self.layout} has no files of peers")

    def _add_peer(self, by: str, folder: Path) -> None:
        if self.adds_peers and not (folder / PERMISSIONS).exists():
            self.grant(by)

    def delete(self, name: str = NAME, by: str = ANA) -> None:
        for path in {self.job_folder(name, by), self.results_folder(name, by)}:
            self.disk.remove(path)

    def _write_logs(self, folder: Path, stdout: str, stderr: str) -> None:
        self.disk.write(folder / "stdout.txt", stdout)
        if stderr:
            self.disk.write(folder / "stderr.txt", stderr)


@dataclass
class _UnreviewedTree(Tree):
    """A and B: the submission, the markers and the results of a job are in one folder."""

    def submit(
        self,
        name: str = NAME,
        by: str = ANA,
        *,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        folder = self._new_job_folder(name, by)
        self.disk.write(folder / "run.sh", RUN_SH)
        settings: dict[str, Any] = {
            "name": name,
            "submitted_at": self.disk.timestamp().replace("Z", "+00:00"),
            "submitted_by": by,
        }
        code = {"main.py": CODE} if files is None else dict(files)
        if code:
            entry = next(iter(code))
            settings |= {"type": "python", "code_path": f"/home/ds/{entry}", "entry_point": entry}
        self.disk.write_yaml(folder / "config.yaml", {**settings, **(config or {})})
        for path, text in code.items():
            self.disk.write(folder / path, text)

    def _new_job_folder(self, name: str, by: str) -> Path:
        return self.job_folder(name, by)


class StageTree(_UnreviewedTree):
    """A: syft-job 0.1.5-0.1.8."""

    layout = "A"
    names_submitter = False
    can_rerun = False
    marks_timeout = False  # a job that timed out stays approved

    @property
    def base(self) -> Path:
        return self.disk.root / "datasites" / self.owner / "app_data" / "job"

    def job_folder(self, name: str = NAME, by: str = ANA) -> Path:
        found = (self.base / stage / name for stage in ("inbox", "approved", "done"))
        return next((path for path in found if path.is_dir()), self.base / "inbox" / name)

    def _new_job_folder(self, name: str, by: str) -> Path:
        for stage in ("inbox", "approved", "done"):
            self.disk.make_folder(self.base / stage)
        return self.base / "inbox" / name

    def approve(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.move(self.base / "inbox" / name, self.base / "approved" / name)

    def move_to_done(self, name: str = NAME, by: str = ANA, *, stage: str = "approved") -> Path:
        """Move the job to `done`, before its results are written."""
        done = self.base / "done" / name
        self.disk.remove(done)
        self.disk.move(self.base / stage / name, done)
        return done

    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        done = self.move_to_done(name, by)
        self._write_logs(done, stdout, stderr)
        self.disk.write(done / "returncode.txt", str(code))

    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.write(self.move_to_done(name, by, stage="inbox") / "outputs" / "answer.txt", "42\n")


class MarkerTree(_UnreviewedTree):
    """B2: syft-job 0.1.10-0.1.21. The base class of the other three marker layouts."""

    layout = "B2"
    names_submitter = False
    marks_timeout = False
    prefix: ClassVar[str] = ""  # of the marker files
    marker_first: ClassVar[bool] = True  # whether `done` is written before the logs

    @property
    def base(self) -> Path:
        return self.disk.root / "datasites" / self.owner / "app_data" / "job"

    def job_folder(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base / name

    def mark(self, marker: str, name: str = NAME, by: str = ANA) -> None:
        """Write the marker file `approved` or `done`."""
        self.disk.write(self.job_folder(name, by) / f"{self.prefix}{marker}", b"")

    def approve(self, name: str = NAME, by: str = ANA) -> None:
        self.mark("approved", name, by)

    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        if self.marker_first:
            self.mark("done", name, by)
        self._write_logs(self.job_folder(name, by), stdout, stderr)
        if not self.marker_first:
            self.mark("done", name, by)
        self.disk.write(self.job_folder(name, by) / "returncode.txt", str(code))

    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.write(self.job_folder(name, by) / "outputs" / "answer.txt", "42\n")
        self.mark("approved", name, by)
        self.mark("done", name, by)

    def rerun(self, name: str = NAME, by: str = ANA) -> None:
        """Logs and return code of the old run stay until the new run overwrites them."""
        self.disk.remove(self.job_folder(name, by) / "outputs")
        self.disk.remove(self.job_folder(name, by) / f"{self.prefix}done")


class DottedMarkerTree(MarkerTree):
    """B1: syft-job 0.1.9."""

    prefix = "."
    can_rerun = False


class RootMarkerTree(MarkerTree):
    """B3: syft-job 0.1.23, which dropped `datasites/` and streams its logs."""

    layout = "B3"
    marks_timeout = True
    marker_first = False

    @property
    def base(self) -> Path:
        return self.disk.root / self.owner / "app_data" / "job"


class SubmitterMarkerTree(RootMarkerTree):
    """B4: syft-job 0.1.24-0.1.27."""

    layout = "B4"
    names_submitter = True

    def job_folder(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base / by / name

    def grant(self, by: str = ANA) -> None:
        self.disk.write_yaml(self.base / by / PERMISSIONS, permission(by, "write"))

    def _new_job_folder(self, name: str, by: str) -> Path:
        self._add_peer(by, self.base / by)
        return super()._new_job_folder(name, by)


@dataclass
class ReviewTree(Tree):
    """C2: syft-job 0.1.35-0.1.39. The base class of the other two review layouts."""

    layout: ClassVar[str] = "C"
    names_submitter: ClassVar[bool] = True
    can_reject: ClassVar[bool] = True
    subfolders: ClassVar[tuple[str, ...]] = ()
    extra_config: ClassVar[Mapping[str, str]] = {}
    extra_state: ClassVar[Mapping[str, Any]] = {"approval_method": None, "review_reason": None}
    reason_key: ClassVar[str] = "review_reason"
    _states: dict[Path, dict[str, Any]] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        return self.disk.root / self.owner / "app_data" / "job"

    def job_folder(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base.joinpath("inbox", by, *self.subfolders, name)

    def results_folder(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base.joinpath("review", by, *self.subfolders, name)

    def grant(self, by: str = ANA) -> None:
        for side, access in (("inbox", "write"), ("review", "read")):
            self.disk.write_yaml(self.base / side / by / PERMISSIONS, permission(by, access))

    def submit(
        self,
        name: str = NAME,
        by: str = ANA,
        *,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._add_peer(by, self.base / "review" / by)
        folder = self.job_folder(name, by)
        code = {"main.py": CODE} if files is None else files
        for path, text in code.items():
            self.disk.write(folder / "code" / path, text)
        self.disk.write(folder / "run.sh", RUN_SH)
        settings: dict[str, Any] = {
            "code_path": None,
            "datasets": None,
            "dependencies": [],
            "entrypoint": next(iter(code), None),
            "files": sorted(code),
            "headers": {},
            "is_folder_submission": False,
            "job_type": "local",
            "name": name,
            "submitted_at": self.disk.timestamp(),
            "type": "python",
            **self.extra_config,
        }
        self.disk.write_yaml(folder / "config.yaml", {**settings, **(config or {})})

    def receive(self, name: str = NAME, by: str = ANA) -> None:
        """Create the state of a new submission, as the client of the owner does."""
        self._states[self.results_folder(name, by)] = {
            **dict.fromkeys(("approved_at", "approved_by", "completed_at", "rejected_at", "rejected_by")),
            "received_at": self.disk.timestamp(),
            "return_code": None,
            **self.extra_state,
        }
        self.set_state(name, by, status="pending")

    def set_state(self, name: str = NAME, by: str = ANA, **changes: Any) -> None:
        """Rewrite state.yaml in place."""
        folder = self.results_folder(name, by)
        if folder not in self._states:
            self.receive(name, by)
        self._states[folder] |= changes
        self.disk.write_yaml(folder / "state.yaml", self._states[folder])

    def approve(self, name: str = NAME, by: str = ANA) -> None:
        self.set_state(name, by, status="approved", approved_at=self.disk.timestamp(), approved_by=self.owner)

    def reject(self, name: str = NAME, by: str = ANA, *, reason: str | None = None) -> None:
        entry = {self.reason_key: reason}
        self.set_state(name, by, status="rejected", rejected_at=self.disk.timestamp(), rejected_by=self.owner, **entry)

    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        folder = self.results_folder(name, by)
        self.disk.make_folder(folder / "outputs")
        self.set_state(name, by, status="running")
        self._write_logs(folder, stdout, stderr)
        self.disk.write(folder / "returncode.txt", str(code))
        self.end(name, by, code=code)

    def end(self, name: str = NAME, by: str = ANA, *, code: int) -> None:
        """Write the final state of a run; the only write if the runner itself failed."""
        status = "failed" if code else "done"
        self.set_state(name, by, status=status, completed_at=self.disk.timestamp(), return_code=code)

    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.write(self.results_folder(name, by) / "outputs" / "answer.txt", "42\n")
        at = self.disk.timestamp()
        state = {"status": "done", "approved_at": at, "completed_at": at, "return_code": 0}
        self.set_state(name, by, approved_by=self.owner, **state)

    def rerun(self, name: str = NAME, by: str = ANA) -> None:
        for file in ("stdout.txt", "stderr.txt", "returncode.txt", "outputs"):
            self.disk.remove(self.results_folder(name, by) / file)
        self.set_state(name, by, status="approved", completed_at=None, return_code=None)

    def delete(self, name: str = NAME, by: str = ANA) -> None:
        super().delete(name, by)
        self._states.pop(self.results_folder(name, by), None)


class FirstReviewTree(ReviewTree):
    """C1: syft-job 0.1.28-0.1.34."""

    extra_state: ClassVar[Mapping[str, Any]] = {"rejection_reason": None}
    reason_key = "rejection_reason"


class VersionedReviewTree(ReviewTree):
    """D: syft-job 0.1.40."""

    layout = "D"
    subfolders = ("v1",)
    extra_config: ClassVar[Mapping[str, str]] = {"canonical_name": "JobSubmissionMetadata", "version": "1"}
    extra_state: ClassVar[Mapping[str, Any]] = {
        **ReviewTree.extra_state,
        "canonical_name": "JobState",
        "version": "1",
    }


TREES: dict[str, type[Tree]] = {
    "A": StageTree,
    "B1": DottedMarkerTree,
    "B2": MarkerTree,
    "B3": RootMarkerTree,
    "B4": SubmitterMarkerTree,
    "C1": FirstReviewTree,
    "C2": ReviewTree,
    "D": VersionedReviewTree,
}
