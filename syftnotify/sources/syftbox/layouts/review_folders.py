"""How does each published client lay a job down? One small piece per family, behind one interface.

Which releases write what, and what a reader must survive, is told in docs/layouts.md. A ninth layout is one more class
here, and its line in one of the two functions below them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import UNREADABLE, Fact, Job
from syftnotify.sources.syftbox.details import details_of, short, time_of
from syftnotify.sources.syftbox.job_index import DirectorySpec, JobDirectory, JobLocation
from syftnotify.sources.syftbox.safe_files import (
    GONE,
    DirFdCache,
    Signature,
    UnreadableError,
    read_beneath,
    regular_file,
    signature,
)
from syftnotify.sources.syftbox.yaml_files import read_yaml

# An end without a return code (layouts A and B) is believed once its marker is so old: some releases write the
# marker first and the code after it.
END_SECONDS = 5.0
# A submission whose files have not all arrived is reported after so long, marked incomplete; and so is one with a file
# that stays unreadable, because a client may still be writing it.
ARRIVAL_SECONDS = 60.0
TIMEOUT_LINE = b"--- PROCESS TIMED OUT ---"

_LONGEST_CLAIM = 300  # characters; an address has at most 254, so what is cut is none
_STAGES = ("inbox", "approved", "done")


@dataclass(slots=True)
class ReadResult:
    """What reading one place gave."""

    job: Job | None = None
    torn: str = ""  # why a file could not be believed; look again
    waiting: bool = False  # true now, but not settled: look again soon


class ScanContext(Protocol):
    """What a layout may ask about the moment of the look."""

    @property
    def now(self) -> float:
        """Seconds since 1970."""

    @property
    def opened(self) -> DirFdCache:
        """The folders of the tree that are open during the look."""

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in `path`, sorted; empty where there is no such folder."""

    def shelf(self, site: DirectorySpec) -> JobDirectory:
        """The shelf of that folder, with the names that are in it now."""

    def waited(self, place: JobLocation, what: str, seconds: float, stamp: float) -> bool:
        """Whether `what` has been so for that long.

        By the file's own time `stamp` (seconds since 1970) or, because clocks jump, by how long this process has seen
        it so.
        """


class Layout(Protocol):
    """How to find the jobs of one family, and how to read one."""

    def shelves(self, base: str, owner: str, sight: ScanContext) -> Iterator[JobDirectory]:
        """Every folder whose folders may be jobs."""

    def read(self, place: JobLocation, sight: ScanContext) -> ReadResult:
        """Read the job; only called when one of the two files by which it is known may have changed."""


def looks_like_email(name: str) -> bool:
    """Whether a folder's name is somebody's: the published clients put nothing else with an `@` there."""
    user, _, domain = name.partition("@")
    return bool(user and domain) and "@" not in domain and not name.startswith(".") and name.isprintable()


class StageFolders:
    """A (syft-job 0.1.0-0.1.8): the stage folder a job lies in is its status."""

    def shelves(self, base: str, owner: str, sight: ScanContext) -> Iterator[JobDirectory]:
        for stage in _STAGES:
            # A folder with a mail address for a name is always C or D.
            yield sight.shelf(
                DirectorySpec("A", base, owner, "", (stage,), takes=lambda name: not looks_like_email(name))
            )

    def read(self, place: JobLocation, sight: ScanContext) -> ReadResult:
        stage = place.parts[0]
        moved_at = signature(place.path)[0] / 1e9
        return _read_unreviewed(place, sight, approved=stage != "inbox", ended_at=moved_at if stage == "done" else None)


class MarkerFiles:
    """B1-B4 (0.1.9-0.1.27): empty files called `approved` and `done` are the status; B1's begin with a dot."""

    def __init__(
        self, layout: str, *, below_submitter: bool = False, dotted: bool = False, of: str | None = None
    ) -> None:
        """`of` leaves out what others than that submitter sent."""
        self._of = of
        self._layout = layout
        self._below_submitter = below_submitter
        self._dotted = dotted

    def shelves(self, base: str, owner: str, sight: ScanContext) -> Iterator[JobDirectory]:
        if not self._below_submitter:
            yield sight.shelf(DirectorySpec(self._layout, base, owner, "", ()))
            return
        for submitter in sight.folders(base):
            if looks_like_email(submitter) and _is_of(self._of, submitter):
                yield sight.shelf(DirectorySpec(self._layout, base, owner, submitter, (submitter,)))

    def read(self, place: JobLocation, sight: ScanContext) -> ReadResult:
        done, approved = self._marker(place, "done"), self._marker(place, "approved")
        return _read_unreviewed(place, sight, approved=bool(done or approved), ended_at=done[0] / 1e9 if done else None)

    def _marker(self, place: JobLocation, name: str) -> Signature | None:
        for each in (name, f".{name}") if self._dotted else (name,):
            if found := regular_file(os.path.join(place.path, each)):
                return found
        return None


class ReviewFolders:
    """C (0.1.28-0.1.39) and D (0.1.40): the scientist's `inbox`, the owner's `review` with its `state.yaml`."""

    def __init__(self, *, of: str | None = None) -> None:
        """`of` leaves out what others than that submitter sent."""
        self._of = of

    def shelves(self, base: str, owner: str, sight: ScanContext) -> Iterator[JobDirectory]:
        for submitter in sight.folders(os.path.join(base, "inbox")):
            if looks_like_email(submitter) and _is_of(self._of, submitter):
                # `v1` may be D's segment, or the name of a C job, or both.
                flat = sight.shelf(
                    DirectorySpec("C", base, owner, submitter, ("inbox", submitter), ("review", submitter))
                )
                yield flat
                for name in flat.segments:
                    below = submitter, name
                    yield sight.shelf(DirectorySpec("D", base, owner, submitter, ("inbox", *below), ("review", *below)))

    def read(self, place: JobLocation, sight: ScanContext) -> ReadResult:
        reading = ReadResult()
        config, problem = _mapping(place, sight, place.parts, "config.yaml")
        state, state_problem = _mapping(place, sight, place.results, "state.yaml")
        reading.torn = state_problem or problem
        status = _status(state)
        if status is None or state_problem:
            reading.torn = state_problem or f"state.yaml: unknown status {short(state.get('status'), 40)!r}"
            if not _lasts(place, sight, place.results, "state.yaml", reading):  # torn: nothing is known
                reading.job = _job(place, Status.WAITING, (), judged=False)
                return reading
            status = _status_by_times(state)
        generation = time_of(config.get("submitted_at"))
        details = details_of(config, state)
        facts: list[Fact] = []
        if problem:
            facts += _unreadable(place, sight, reading, details, problem) if status is Status.WAITING else []
        else:
            arrived = status is not Status.WAITING or self._has_arrived(place, details["files"])
            facts += _submission(place, sight, reading, details, generation, arrived)
            if state_problem:
                details["unreadable"] = state_problem
        facts += _facts_of(state, status, details, place)
        reading.job = _job(
            place,
            status,
            tuple(facts),
            generation=generation,
            ended=status in {Status.DONE, Status.FAILED},
            judged=not problem and not state_problem,
            details=details,
        )
        return reading

    @staticmethod
    def _has_arrived(place: JobLocation, files: list[str]) -> bool:
        """Whether every file of the submission is there: they come one by one, `config.yaml` not last."""
        code = os.path.join(place.path, "code")
        return all(signature(os.path.join(code, *parts))[2] for name in files if (parts := inner_parts(name)))


def layouts_below_datasites() -> tuple[Layout, ...]:
    """The layouts that lie in `R/datasites/<owner>/app_data/job`."""
    return StageFolders(), MarkerFiles("B2", dotted=True)


def layouts_below_root() -> tuple[Layout, ...]:
    """The layouts that lie in `R/<owner>/app_data/job`."""
    return MarkerFiles("B3"), MarkerFiles("B4", below_submitter=True), ReviewFolders()


def layouts_of_submitter(submitter: str) -> tuple[Layout, ...]:
    """The layouts below root whose paths say who submitted, for the jobs of one submitter."""
    return MarkerFiles("B4", below_submitter=True, of=submitter), ReviewFolders(of=submitter)


def _is_of(wanted: str | None, submitter: str) -> bool:
    return wanted is None or submitter.casefold() == wanted.casefold()


def inner_parts(name: str) -> tuple[str, ...] | None:
    """A relative file name from a `files` list as the parts of a path, or None where it points elsewhere."""
    parts = tuple(name.split("/"))
    if len(parts) > 16 or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        return None
    return parts


def _read_unreviewed(place: JobLocation, sight: ScanContext, *, approved: bool, ended_at: float | None) -> ReadResult:
    """A job of A or B, whose own folder holds everything, the submitter's files and the owner's marks."""
    reading = ReadResult()
    config, reading.torn = _mapping(place, sight, place.parts, "config.yaml")
    details = details_of(config, {})
    if reading.torn:
        facts = [] if approved else _unreadable(place, sight, reading, details, reading.torn)
        reading.job = _job(place, Status.WAITING, tuple(facts), judged=False, details=details)
        return reading
    generation = time_of(config.get("submitted_at"))
    arrived = approved or regular_file(os.path.join(place.path, "run.sh")) is not None
    facts = _submission(place, sight, reading, details, generation, arrived)
    if approved:
        facts.append(Fact(EventKind.JOB_APPROVED, generation))
    status = Status.APPROVED if approved else Status.WAITING
    if ended_at is not None:
        end = _end_of(place, sight, ended_at, details)
        if end is None:
            reading.waiting = True
        else:
            facts.append(Fact(end, generation, counted=True))
            status = Status.DONE if end is EventKind.JOB_COMPLETED else Status.FAILED
    claimed = config.get("submitted_by")
    reading.job = _job(
        place,
        status,
        tuple(facts),
        generation=generation,
        claimed=claimed[:_LONGEST_CLAIM] if isinstance(claimed, str) else "",
        ended=ended_at is not None,
        details=details,
    )
    return reading


def _submission(
    place: JobLocation, sight: ScanContext, reading: ReadResult, details: dict[str, Any], generation: str, arrived: bool
) -> list[Fact]:
    """The fact that a job was submitted, once its files have arrived or enough was waited for them."""
    if not arrived:
        written = signature(os.path.join(place.path, "config.yaml"))[0] / 1e9
        if not sight.waited(place, "arrival", ARRIVAL_SECONDS, written):
            reading.waiting = True
            return []
    details["incomplete"] = not arrived
    return [Fact(EventKind.JOB_SUBMITTED, generation, at=generation)]


def _end_of(place: JobLocation, sight: ScanContext, ended_at: float, details: dict[str, Any]) -> EventKind | None:
    """How a job of A or B ended, or None while its return code may still be on its way."""
    written = signature(os.path.join(place.path, "returncode.txt"))
    code = _return_code(place)
    # A rerun leaves the old code in place until the new run writes over it, after its marker.
    stale = place.layout != "A" and written[0] / 1e9 < ended_at
    if (code is None or stale) and not sight.waited(place, "end", END_SECONDS, ended_at):
        return None
    details["return_code"] = code
    return _kind_of_end(place, code)


def _return_code(place: JobLocation) -> int | None:
    try:
        # Only a number is taken from it; without it a failed run would count as completed.
        content = read_result(place.base, place.results, "returncode.txt", place.layout, cap=32, may_be_hard_link=True)
        return int(content.decode("ascii"))
    except (OSError, UnreadableError, ValueError):
        return None


def read_result(
    base: str, results: tuple[str, ...], name: str, layout: str, *, cap: int, may_be_hard_link: bool = False
) -> bytes:
    """The last `cap` bytes of what a run left behind. syft-job 0.1.3 and 0.1.4 (A) put it one folder deeper.

    Raises: FileNotFoundError, UnreadableError, as `files.read_inside` does.
    """
    try:
        return read_beneath(base, (*results, name), cap=cap, tail=True, may_be_hard_link=may_be_hard_link)[0]
    except FileNotFoundError:
        if layout != "A":
            raise
        inner = (*results, "logs", name)
        return read_beneath(base, inner, cap=cap, tail=True, may_be_hard_link=may_be_hard_link)[0]


def _kind_of_end(place: JobLocation, code: int | None) -> EventKind:
    if not code:
        return EventKind.JOB_COMPLETED
    if code != -1:
        return EventKind.JOB_FAILED
    for name in ("stderr.txt", "stdout.txt"):
        try:
            tail = read_result(place.base, place.results, name, place.layout, cap=4096)
        except (OSError, UnreadableError):
            continue
        if TIMEOUT_LINE in tail:
            return EventKind.JOB_TIMEOUT
    return EventKind.JOB_FAILED


def _mapping(place: JobLocation, sight: ScanContext, folder: tuple[str, ...], name: str) -> tuple[dict[str, Any], str]:
    """The mapping in one file and why it cannot be read; a file that is not there is an empty mapping."""
    try:
        return read_yaml(place.base, (*folder, name), sight.opened), ""
    except FileNotFoundError:
        return {}, "config.yaml: gone while the job was read" if name == "config.yaml" else ""
    except UnreadableError as error:
        return {}, f"{name}: {error}"


def _lasts(place: JobLocation, sight: ScanContext, folder: tuple[str, ...], name: str, reading: ReadResult) -> bool:
    """Whether a file that cannot be read has been as it is for `ARRIVAL_SECONDS`."""
    found = signature(os.path.join(place.base, *folder, name))
    if found == GONE:
        return False
    lasts = sight.waited(place, f"{name} {found}", ARRIVAL_SECONDS, found[0] / 1e9)
    reading.waiting = reading.waiting or not lasts
    return lasts


def _unreadable(
    place: JobLocation, sight: ScanContext, reading: ReadResult, details: dict[str, Any], problem: str
) -> list[Fact]:
    """The fact that a job waits whose config.yaml stays unreadable."""
    if not _lasts(place, sight, place.parts, "config.yaml", reading):
        return []
    details["unreadable"] = problem
    return [Fact(EventKind.JOB_SUBMITTED, UNREADABLE)]


_STATUSES = {
    "received": Status.WAITING,
    "pending": Status.WAITING,
    "approved": Status.APPROVED,
    "running": Status.RUNNING,
    "rejected": Status.REJECTED,
    "done": Status.DONE,
    "failed": Status.FAILED,
}


def _status(state: dict[str, Any]) -> Status | None:
    """The status in a state.yaml: WAITING where there is no file, None where the status is missing or unknown."""
    if not state:
        return Status.WAITING
    word = state.get("status")
    return _STATUSES.get(word) if isinstance(word, str) else None


def _status_by_times(state: dict[str, Any]) -> Status:
    """The status that the other fields of a state.yaml show; every client writes them all."""
    if state.get("completed_at"):
        return Status.FAILED if state.get("return_code") else Status.DONE
    if state.get("rejected_at"):
        return Status.REJECTED
    return Status.APPROVED if state.get("approved_at") else Status.WAITING


def _facts_of(state: dict[str, Any], status: Status, details: dict[str, Any], place: JobLocation) -> Iterator[Fact]:
    """What state.yaml says is true. Steps may have been skipped, so each fact comes from its own time."""
    approved, rejected = time_of(state.get("approved_at")), time_of(state.get("rejected_at"))
    completed = time_of(state.get("completed_at"))
    if approved or status in {Status.APPROVED, Status.RUNNING}:
        yield Fact(EventKind.JOB_APPROVED, approved, at=approved)
    if rejected or status is Status.REJECTED:
        yield Fact(EventKind.JOB_REJECTED, rejected, at=rejected)
    if status is Status.RUNNING:
        yield Fact(EventKind.JOB_STARTED, approved, counted=True)
    if status is Status.DONE:
        yield Fact(EventKind.JOB_COMPLETED, completed, at=completed)
    if status is Status.FAILED:
        code = details["return_code"]
        kind = _kind_of_end(place, code) if code == -1 else EventKind.JOB_FAILED
        yield Fact(kind, completed, at=completed)


def _job(place: JobLocation, status: Status, facts: tuple[Fact, ...], **more: Any) -> Job:
    return Job(
        entity=place.entity,
        layout=place.layout,
        owner=place.owner,
        submitter=place.submitter,
        name=place.name,
        status=status,
        facts=facts,
        base=place.base,
        parts=place.parts,
        results=place.results,
        **{"claimed": "", **more},
    )
