"""What the published clients write, for all eight layouts: the same files, in the same order, in place.

The releases and their habits are told in docs/layouts.md. Every time on disk comes from the clock that is handed in,
so a test decides how old a file is.
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
    """Writes as the clients do, in place. No two writes leave the same time, and each time is the clock's."""

    root: Path
    clock: Callable[[], float] = time.time
    _writes: int = 0

    def write(self, path: Path, content: str | bytes) -> None:
        """Write a file anew, in place: an existing one keeps its inode."""
        self.folder(path.parent)
        is_new = not os.path.lexists(path)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.stamp(path, *([path.parent] if is_new else []))

    def write_yaml(self, path: Path, content: Mapping[str, Any]) -> None:
        self.write(path, yaml.safe_dump(dict(content), sort_keys=True))

    def folder(self, path: Path) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        if missing:
            self.stamp(*missing, missing[-1].parent)

    def link(self, path: Path, target: Path) -> None:
        self.folder(path.parent)
        path.symlink_to(target)
        self.stamp(path, path.parent)

    def move(self, old: Path, new: Path) -> None:
        """One rename: the folder that is moved keeps its own time."""
        self.folder(new.parent)
        old.rename(new)
        self.stamp(old.parent, new.parent)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it; nothing happens where there is none."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
        else:
            return
        self.stamp(path.parent)

    def stamp(self, *paths: Path) -> None:
        self._writes += 1
        at = self._now_us() * 1000
        for path in paths:
            os.utime(path, ns=(at, at), follow_symlinks=False)

    def moment(self) -> str:
        """Now, as the clients write it; never the same twice."""
        self._writes += 1
        at = datetime.fromtimestamp(self._now_us() // 1_000_000, UTC).replace(microsecond=self._now_us() % 1_000_000)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _now_us(self) -> int:
        return int(self.clock() * 1_000_000) + self._writes


def permission(peer: str, access: str, pattern: str = "**") -> dict[str, Any]:
    """A permission file in which one rule gives a peer access."""
    rights: dict[str, list[str]] = {"admin": [], "read": [], "write": []}
    return {"rules": [{"access": {**rights, access: [peer]}, "pattern": pattern}], "terminal": False}


@dataclass
class Tree(ABC):
    """One owner's jobs as one release lays them down."""

    disk: Disk
    owner: str = OWNER
    adds_peers: bool = True  # whether the owner adds a peer before the first submission, as real owners do

    layout: ClassVar[str]  # as entity ids spell it
    names_submitter: ClassVar[bool]  # whether the path says who submitted
    can_reject: ClassVar[bool] = False
    can_rerun: ClassVar[bool] = True
    marks_timeout: ClassVar[bool] = True  # whether a time-out leaves its line in a log

    @property
    @abstractmethod
    def base(self) -> Path:
        """The owner's job folder."""

    @abstractmethod
    def place(self, name: str = NAME, by: str = ANA) -> Path:
        """The folder of a submission."""

    def results(self, name: str = NAME, by: str = ANA) -> Path:
        """The folder of the job's state and logs."""
        return self.place(name, by)

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
        """Send a job: `files` are its code, `config` replaces keys of its config.yaml."""

    @abstractmethod
    def approve(self, name: str = NAME, by: str = ANA) -> None: ...

    def reject(self, name: str = NAME, by: str = ANA, *, reason: str | None = None) -> None:
        raise NotImplementedError(f"{self.layout} knows no rejection")

    @abstractmethod
    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        """Run an approved job to its end."""

    def time_out(self, name: str = NAME, by: str = ANA) -> None:
        """The runner kills the job and says so in its log."""
        self.run(name, by, code=-1, stdout=f"half\n{TIMEOUT_LINE}\n")

    @abstractmethod
    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        """Hand a result over without running the job."""

    def rerun(self, name: str = NAME, by: str = ANA) -> None:
        raise NotImplementedError(f"{self.layout} knows no rerun")

    def grant(self, by: str = ANA) -> None:
        """The owner accepts a peer."""
        raise NotImplementedError(f"{self.layout} leaves no trace of it")

    def _add_peer(self, by: str, folder: Path) -> None:
        if self.adds_peers and not (folder / PERMISSIONS).exists():
            self.grant(by)

    def delete(self, name: str = NAME, by: str = ANA) -> None:
        for path in {self.place(name, by), self.results(name, by)}:
            self.disk.remove(path)

    def _write_logs(self, folder: Path, stdout: str, stderr: str) -> None:
        self.disk.write(folder / "stdout.txt", stdout)
        if stderr:
            self.disk.write(folder / "stderr.txt", stderr)


@dataclass
class _Unreviewed(Tree):
    """A and B: the submission, the marks and the results of a job lie together."""

    def submit(
        self,
        name: str = NAME,
        by: str = ANA,
        *,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        folder = self._arrival(name, by)
        self.disk.write(folder / "run.sh", RUN_SH)
        settings: dict[str, Any] = {
            "name": name,
            "submitted_at": self.disk.moment().replace("Z", "+00:00"),
            "submitted_by": by,
        }
        code = {"main.py": CODE} if files is None else dict(files)
        if code:
            entry = next(iter(code))
            settings |= {"type": "python", "code_path": f"/home/ds/{entry}", "entry_point": entry}
        self.disk.write_yaml(folder / "config.yaml", {**settings, **(config or {})})
        for path, text in code.items():
            self.disk.write(folder / path, text)

    def _arrival(self, name: str, by: str) -> Path:
        return self.place(name, by)


class StageTree(_Unreviewed):
    """A: syft-job 0.1.5-0.1.8."""

    layout = "A"
    names_submitter = False
    can_rerun = False
    marks_timeout = False  # a job that ran out of time stays approved

    @property
    def base(self) -> Path:
        return self.disk.root / "datasites" / self.owner / "app_data" / "job"

    def place(self, name: str = NAME, by: str = ANA) -> Path:
        found = (self.base / stage / name for stage in ("inbox", "approved", "done"))
        return next((path for path in found if path.is_dir()), self.base / "inbox" / name)

    def _arrival(self, name: str, by: str) -> Path:
        for stage in ("inbox", "approved", "done"):
            self.disk.folder(self.base / stage)
        return self.base / "inbox" / name

    def approve(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.move(self.base / "inbox" / name, self.base / "approved" / name)

    def finish(self, name: str = NAME, by: str = ANA, *, stage: str = "approved") -> Path:
        """The move to `done`, before any result is written."""
        done = self.base / "done" / name
        self.disk.remove(done)
        self.disk.move(self.base / stage / name, done)
        return done

    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        done = self.finish(name, by)
        self._write_logs(done, stdout, stderr)
        self.disk.write(done / "returncode.txt", str(code))

    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.write(self.finish(name, by, stage="inbox") / "outputs" / "answer.txt", "42\n")


class MarkerTree(_Unreviewed):
    """B2: syft-job 0.1.10-0.1.21. The base of the other three marker layouts."""

    layout = "B2"
    names_submitter = False
    marks_timeout = False
    dot: ClassVar[str] = ""
    marker_first: ClassVar[bool] = True  # whether `done` is made before the logs are written

    @property
    def base(self) -> Path:
        return self.disk.root / "datasites" / self.owner / "app_data" / "job"

    def place(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base / name

    def mark(self, word: str, name: str = NAME, by: str = ANA) -> None:
        """Make the marker file `approved` or `done`."""
        self.disk.write(self.place(name, by) / f"{self.dot}{word}", b"")

    def approve(self, name: str = NAME, by: str = ANA) -> None:
        self.mark("approved", name, by)

    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        if self.marker_first:
            self.mark("done", name, by)
        self._write_logs(self.place(name, by), stdout, stderr)
        if not self.marker_first:
            self.mark("done", name, by)
        self.disk.write(self.place(name, by) / "returncode.txt", str(code))

    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.write(self.place(name, by) / "outputs" / "answer.txt", "42\n")
        self.mark("approved", name, by)
        self.mark("done", name, by)

    def rerun(self, name: str = NAME, by: str = ANA) -> None:
        """The logs and the code of the old run stay until the new one writes over them."""
        self.disk.remove(self.place(name, by) / "outputs")
        self.disk.remove(self.place(name, by) / f"{self.dot}done")


class DottedMarkerTree(MarkerTree):
    """B1: syft-job 0.1.9."""

    dot = "."
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

    def place(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base / by / name

    def grant(self, by: str = ANA) -> None:
        self.disk.write_yaml(self.base / by / PERMISSIONS, permission(by, "write"))

    def _arrival(self, name: str, by: str) -> Path:
        self._add_peer(by, self.base / by)
        return super()._arrival(name, by)


@dataclass
class ReviewTree(Tree):
    """C2: syft-job 0.1.35-0.1.39. The base of the other two review layouts."""

    layout: ClassVar[str] = "C"
    names_submitter: ClassVar[bool] = True
    can_reject: ClassVar[bool] = True
    segment: ClassVar[tuple[str, ...]] = ()
    extra_config: ClassVar[Mapping[str, str]] = {}
    extra_state: ClassVar[Mapping[str, Any]] = {"approval_method": None, "review_reason": None}
    reason_key: ClassVar[str] = "review_reason"
    _states: dict[Path, dict[str, Any]] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        return self.disk.root / self.owner / "app_data" / "job"

    def place(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base.joinpath("inbox", by, *self.segment, name)

    def results(self, name: str = NAME, by: str = ANA) -> Path:
        return self.base.joinpath("review", by, *self.segment, name)

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
        folder = self.place(name, by)
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
            "submitted_at": self.disk.moment(),
            "type": "python",
            **self.extra_config,
        }
        self.disk.write_yaml(folder / "config.yaml", {**settings, **(config or {})})

    def receive(self, name: str = NAME, by: str = ANA) -> None:
        """The owner's client sees the submission for the first time."""
        self._states[self.results(name, by)] = {
            **dict.fromkeys(("approved_at", "approved_by", "completed_at", "rejected_at", "rejected_by")),
            "received_at": self.disk.moment(),
            "return_code": None,
            **self.extra_state,
        }
        self.set_state(name, by, status="pending")

    def set_state(self, name: str = NAME, by: str = ANA, **changes: Any) -> None:
        """Rewrite state.yaml in place."""
        folder = self.results(name, by)
        if folder not in self._states:
            self.receive(name, by)
        self._states[folder] |= changes
        self.disk.write_yaml(folder / "state.yaml", self._states[folder])

    def approve(self, name: str = NAME, by: str = ANA) -> None:
        self.set_state(name, by, status="approved", approved_at=self.disk.moment(), approved_by=self.owner)

    def reject(self, name: str = NAME, by: str = ANA, *, reason: str | None = None) -> None:
        why = {self.reason_key: reason}
        self.set_state(name, by, status="rejected", rejected_at=self.disk.moment(), rejected_by=self.owner, **why)

    def run(self, name: str = NAME, by: str = ANA, *, code: int = 0, stderr: str = "", stdout: str = "42\n") -> None:
        folder = self.results(name, by)
        self.disk.folder(folder / "outputs")
        self.set_state(name, by, status="running")
        self._write_logs(folder, stdout, stderr)
        self.disk.write(folder / "returncode.txt", str(code))
        self.end(name, by, code=code)

    def end(self, name: str = NAME, by: str = ANA, *, code: int) -> None:
        """The last write of a run; where the runner itself broke, the only one."""
        status = "failed" if code else "done"
        self.set_state(name, by, status=status, completed_at=self.disk.moment(), return_code=code)

    def deposit(self, name: str = NAME, by: str = ANA) -> None:
        self.disk.write(self.results(name, by) / "outputs" / "answer.txt", "42\n")
        at = self.disk.moment()
        ended = {"status": "done", "approved_at": at, "completed_at": at, "return_code": 0}
        self.set_state(name, by, approved_by=self.owner, **ended)

    def rerun(self, name: str = NAME, by: str = ANA) -> None:
        for file in ("stdout.txt", "stderr.txt", "returncode.txt", "outputs"):
            self.disk.remove(self.results(name, by) / file)
        self.set_state(name, by, status="approved", completed_at=None, return_code=None)

    def delete(self, name: str = NAME, by: str = ANA) -> None:
        super().delete(name, by)
        self._states.pop(self.results(name, by), None)


class FirstReviewTree(ReviewTree):
    """C1: syft-job 0.1.28-0.1.34."""

    extra_state: ClassVar[Mapping[str, Any]] = {"rejection_reason": None}
    reason_key = "rejection_reason"


class VersionedReviewTree(ReviewTree):
    """D: syft-job 0.1.40."""

    layout = "D"
    segment = ("v1",)
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
