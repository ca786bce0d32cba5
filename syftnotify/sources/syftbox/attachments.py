"""What of a job a message may contain: its code and the end of its logs, capped, copied while they are there.

Every file of a submission is either shown or named as not shown, so that nothing that runs can hide.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Job
from syftnotify.core.text import escape_block
from syftnotify.sources.syftbox.layouts import inner_parts, read_result
from syftnotify.sources.syftbox.listing import MAX_DEPTH, Listed, is_executable_name, list_files, shown_path
from syftnotify.sources.syftbox.safe_files import UnreadableError, read_beneath

FILE_CAP = 50 * 1024  # bytes read of one file of code
TOTAL_CAP = 500 * 1024  # bytes read of all the code of one job
SHOWN_CAP = 80 * 1024  # bytes of code, as UTF-8, that are kept for a message
STDERR_CAP = 8 * 1024  # bytes of the end of stderr
_MAX_SHOWN = 100  # files
MAX_NAMED = 200  # files that are named as not shown; the rest is counted by folder
_MAX_COUNTED = 40  # folders
_NAMES_CAP = 24 * 1024  # bytes of HTML for the names of what is shown, and of what is not: Gmail clips at 102 KB

_Parts = tuple[str, ...]

# Reasons: what a name shows, and nothing about the content.
_MISSING = "not there"
_GENERATED = "name of a hidden or generated file"
_RESULT = "name of a result or mark of the client"
_NO_CODE = "not shown: no known code suffix"

_GENERATED_FOLDERS = frozenset({"__pycache__", "node_modules", "outputs", "logs", "build", "dist", "venv"})
_GENERATED_FILES = frozenset({"syft.pub.yaml", "uv.lock", "poetry.lock", "package-lock.json"})
_GENERATED_ENDS = (".pyc", ".pyo", ".egg-info", ".so", ".class")
# In A and B the owner's marks and the results of a run lie in the submission's own folder.
_RESULT_FOLDERS = frozenset({"outputs", "logs"})
_RESULT_FILES = frozenset(
    {"approved", "done", ".approved", ".done", "stdout.txt", "stderr.txt", "returncode.txt", "syft.pub.yaml"}
)


def attachments_of(job: Job, kind: EventKind) -> dict[str, Any]:
    """The JSON that joins the payload of an event of `kind`: `code` and `code_left_out`, or `stderr`.

    `code` is a list of {path, text, cut}; `code_left_out` a list of {path, why}. Paths begin at the job's folder.
    """
    if kind is EventKind.JOB_SUBMITTED:
        return _code(job)
    if kind in {EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT}:
        return _stderr(job)
    return {}


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """A file that is not shown, or a folder that is not listed."""

    path: _Parts
    why: str
    is_named: bool = False  # by the job's own list of files
    is_folder: bool = False
    is_executable: bool = False

    @property
    def rank(self) -> tuple[bool, bool, _Parts]:
        """What the job does not name comes first, and of that what may run."""
        return self.is_named, not (self.is_executable or self.is_folder), self.path

    @property
    def line(self) -> dict[str, str]:
        """What a message says of it."""
        why = f"{self.why}, executable" if self.is_executable and not self.is_folder else self.why
        return {"path": _path(self.path, is_folder=self.is_folder), "why": why}


def _code(job: Job) -> dict[str, Any]:
    closed = frozenset[str]() if _has_list(job) else _RESULT_FOLDERS
    listed = {item.parts: item for item in list_files(job.base, job.parts, closed=closed)}
    left_out: list[_LeftOut] = []
    named: dict[_Parts, bool] = {}  # in the order in which they are shown
    for name, parts in _named(job, listed):
        if parts is None:
            left_out.append(_LeftOut((name,), "not a name inside the job", is_named=True))
        else:
            named[parts] = True
    taken = _Taken(job)
    for parts in named:
        if why := taken.take(parts, listed.get(parts)):
            item = listed.get(parts)
            is_executable = item.is_executable if item else why != _MISSING and is_executable_name(parts[-1])
            left_out.append(_LeftOut(parts, why, is_named=True, is_executable=is_executable))
    left_out += [_unnamed(item, job) for parts, item in listed.items() if parts not in named or item.is_folder]
    return {"code": taken.files, "code_left_out": _lines(sorted(left_out, key=lambda item: item.rank))}


def _has_list(job: Job) -> bool:
    """Whether jobs of its layout name their files."""
    return job.layout in {"C", "D"}


def _named(job: Job, listed: dict[_Parts, Listed]) -> Iterator[tuple[str, _Parts | None]]:
    """The names to show and where they lie below the job: what runs first, then what the job names, then its settings.

    In A and B nothing is named but the entry point, so all code beside it is shown.
    """
    yield "run.sh", ("run.sh",)
    entry = str(job.details.get("entrypoint") or "")
    if _has_list(job):
        for name in dict.fromkeys([*([entry] if entry else []), *(job.details.get("files") or ())]):
            parts = inner_parts(name)
            yield name, ("code", *parts) if parts else None
    else:
        folder = str(job.details.get("code_path") or "").rstrip("/").rpartition("/")[2]
        # Beside run.sh; in the folder that was submitted (0.1.23 and later); below code/ (0.1.3 and 0.1.4).
        for name in dict.fromkeys((entry, f"{folder}/{entry}", f"code/{entry}") if entry else ()):
            parts = inner_parts(name)
            if parts is None or parts in listed or _is_in_closed(job, parts, listed):
                yield name, parts
        for parts, item in sorted(listed.items()):
            if item.is_executable and not (item.why or _is_generated(parts) or _is_result(parts)):
                yield parts[-1], parts
    yield "config.yaml", ("config.yaml",)


def _is_in_closed(job: Job, parts: _Parts, listed: Container[_Parts]) -> bool:
    """Whether that file lies in a folder that is not listed."""
    if not any(parts[:end] in listed for end in range(1, len(parts))):
        return False
    try:
        read_beneath(job.base, (*job.parts, *parts), cap=0)
    except FileNotFoundError:
        return False
    except UnreadableError:
        pass
    return True


class _Taken:
    """The files that are shown, as long as there is room."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.files: list[dict[str, Any]] = []
        self._read = self._kept = self._named = 0  # bytes

    def take(self, parts: _Parts, item: Listed | None) -> str:
        """Show one file; returns why it is not shown, or nothing."""
        if item is not None and item.why:
            return item.why
        if _is_generated(parts) and not _is_entry(self._job, parts):
            return _GENERATED
        path = _path(parts)
        is_full = self._read >= TOTAL_CAP or self._kept >= SHOWN_CAP or len(self.files) >= _MAX_SHOWN
        if is_full or self._named + _html_size(path) > _NAMES_CAP:
            return "too much code for one mail"
        job = self._job
        try:
            cap = min(FILE_CAP, TOTAL_CAP - self._read)
            content, size = read_beneath(job.base, (*job.parts, *parts), cap=cap, may_be_hard_link=False)
        except FileNotFoundError:
            return _MISSING
        except UnreadableError as error:
            return f"{error}, not shown"
        self._read += len(content)
        if b"\0" in content:
            return f"binary, {size} bytes"
        text = escape_block(content.decode("utf-8", "replace")).encode("utf-8")
        room = SHOWN_CAP - self._kept
        cut = size > len(content) or len(text) > room
        self.files.append({"path": path, "text": text[:room].decode("utf-8", "ignore"), "cut": cut})
        self._kept += min(len(text), room)
        self._named += _html_size(path)
        return ""


def _unnamed(item: Listed, job: Job) -> _LeftOut:
    reasons = [item.why]
    if not item.is_folder:
        if not _has_list(job) and _is_result(item.parts):
            reasons.append(_RESULT)
        elif _is_generated(item.parts):
            reasons.append(_GENERATED)
        reasons.append("not in the job's list of files" if _has_list(job) else "" if any(reasons) else _NO_CODE)
    return _LeftOut(
        item.parts,
        ", ".join(filter(None, reasons)),
        is_folder=item.is_folder,
        is_executable=item.is_executable,
    )


def _is_result(parts: _Parts) -> bool:
    return len(parts) == 1 and parts[0] in _RESULT_FILES


def _is_entry(job: Job, parts: _Parts) -> bool:
    """Whether it is the entry point, directly in the job's folder or in a folder of it."""
    entry = inner_parts(str(job.details.get("entrypoint") or ""))
    return entry is not None and parts[-len(entry) :] == entry and len(parts) <= len(entry) + 1


def _is_generated(parts: _Parts) -> bool:
    hidden = any(part.startswith(".") for part in parts)
    generated = any(part in _GENERATED_FOLDERS for part in parts[:-1]) or parts[-1] in _GENERATED_FILES
    return hidden or generated or parts[-1].endswith(_GENERATED_ENDS)


def _lines(left_out: Sequence[_LeftOut]) -> list[dict[str, str]]:
    """As many lines as there is room for, and the rest counted by folder."""
    lines: list[dict[str, str]] = []
    room = _NAMES_CAP
    for item in left_out[:MAX_NAMED]:
        line = item.line
        room -= _html_size(line["path"] + line["why"])
        if room < 0:
            break
        lines.append(line)
    return lines + _counts(left_out[len(lines) :])


def _counts(left_out: Iterable[_LeftOut]) -> list[dict[str, str]]:
    """How many there are in each folder; of very many folders, in those above them."""
    rest = list(left_out)
    for depth in range(MAX_DEPTH + 2, -1, -1):
        counts = Counter(item.path[:-1][:depth] for item in rest)
        if len(counts) <= _MAX_COUNTED:
            break
    executable = Counter(item.path[:-1][:depth] for item in rest if item.is_executable or item.is_folder)
    return [
        {
            "path": _path(folder, is_folder=True),
            "why": f"{count} more in it or below, {executable[folder]} of them executable or folders",
        }
        for folder, count in sorted(counts.items())
    ]


def _path(parts: _Parts, *, is_folder: bool = False) -> str:
    return shown_path(parts, is_folder=is_folder) or "the job's folder"


def _html_size(text: str) -> int:
    return len(html.escape(text).encode("utf-8"))


def _stderr(job: Job) -> dict[str, Any]:
    try:
        content = read_result(job.base, job.results, "stderr.txt", job.layout, cap=STDERR_CAP + 1)
    except (FileNotFoundError, UnreadableError):
        return {"stderr": "", "stderr_cut": False}
    text = content[-STDERR_CAP:].decode("utf-8", "replace")
    return {"stderr": escape_block(text), "stderr_cut": len(content) > STDERR_CAP}
