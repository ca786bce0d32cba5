"""The content of a job's files for messages: its code, or the end of stderr. Bounded, and copied while the job exists.

Every file of a submission is either shown or listed as not shown, so that no code can hide.
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
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath
from syftnotify.sources.syftbox.layouts.registry import layout_spec
from syftnotify.sources.syftbox.layouts.results import read_result
from syftnotify.sources.syftbox.names import relative_parts
from syftnotify.sources.syftbox.submission_files import (
    MAX_DEPTH,
    FileEntry,
    Parts,
    display_path,
    is_executable_name,
    list_files,
)

FILE_CAP = 50 * 1024  # bytes read of one file of code
TOTAL_CAP = 500 * 1024  # bytes read of all the code of one job
SHOWN_CAP = 80 * 1024  # bytes of code, as UTF-8, kept for a message
STDERR_CAP = 8 * 1024  # bytes of the end of stderr
_MAX_SHOWN = 100  # files
MAX_NAMED = 200  # files named as not shown; the rest is counted by folder
_MAX_COUNTED = 40  # folders with such a count
# Bytes of HTML for the names of shown files, and for those of other files: Gmail clips a mail at 102 KB.
_NAMES_CAP = 24 * 1024

_MISSING = "not there"
_GENERATED = "name of a hidden or generated file"
_RESULT = "name of a result or mark of the client"
_NOT_CODE = "not shown: no known code suffix"

_GENERATED_FOLDERS = frozenset({"__pycache__", "node_modules", "outputs", "logs", "build", "dist", "venv"})
_GENERATED_FILES = frozenset({"syft.pub.yaml", "uv.lock", "poetry.lock", "package-lock.json"})
_GENERATED_SUFFIXES = (".pyc", ".pyo", ".egg-info", ".so", ".class")
# Without a file list, the owner's marks and the results of a run lie in the submission's own folder.
_RESULT_FOLDERS = frozenset({"outputs", "logs"})
_RESULT_FILES = frozenset(
    {"approved", "done", ".approved", ".done", "stdout.txt", "stderr.txt", "returncode.txt", "syft.pub.yaml"}
)


def attachments_of(job: Job, kind: EventKind) -> dict[str, Any]:
    """The JSON that is added to the payload of an event of `kind`.

    A submission has `code`, a list of {path, text, cut}, and `code_left_out`, a list of {path, why}; the paths are
    relative to the job's folder. A failure has `stderr` and `stderr_cut`.
    """
    if kind is EventKind.JOB_SUBMITTED:
        return _code(job)
    if kind in {EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT}:
        return _stderr(job)
    return {}


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """A file that is not shown, or a folder whose content is not listed."""

    parts: Parts
    reason: str
    is_named: bool = False  # in the job's own list of files
    is_folder: bool = False
    is_executable: bool = False

    @property
    def rank(self) -> tuple[bool, bool, Parts]:
        """Sort key: files that the job does not name come first, and of these executable ones and folders."""
        return self.is_named, not (self.is_executable or self.is_folder), self.parts

    def to_json(self) -> dict[str, str]:
        why = f"{self.reason}, executable" if self.is_executable and not self.is_folder else self.reason
        return {"path": _display(self.parts, is_folder=self.is_folder), "why": why}


def _code(job: Job) -> dict[str, Any]:
    collapsed = frozenset[str]() if _has_file_list(job) else _RESULT_FOLDERS
    listed = {entry.parts: entry for entry in list_files(job.base, job.parts, collapsed=collapsed)}
    left_out: list[_LeftOut] = []
    named: dict[Parts, None] = {}  # in the order in which they are shown
    for name, parts in _named_files(job, listed):
        if parts is None:
            left_out.append(_LeftOut((name,), "not a name inside the job", is_named=True))
        else:
            named[parts] = None
    shown = _ShownFiles(job)
    for parts in named:
        entry = listed.get(parts)
        if reason := shown.add(parts, entry):
            is_executable = entry.is_executable if entry else reason != _MISSING and is_executable_name(parts[-1])
            left_out.append(_LeftOut(parts, reason, is_named=True, is_executable=is_executable))
    left_out += [_unnamed(entry, job) for parts, entry in listed.items() if parts not in named or entry.is_folder]
    return {"code": shown.files, "code_left_out": _lines(sorted(left_out, key=lambda each: each.rank))}


def _has_file_list(job: Job) -> bool:
    return layout_spec(job.layout).has_file_list


def _named_files(job: Job, listed: dict[Parts, FileEntry]) -> Iterator[tuple[str, Parts | None]]:
    """The names to show and their paths in the job's folder; None for a name that leads outside.

    The files that run come first, then those that the job names, then its configuration.
    """
    yield "run.sh", ("run.sh",)
    entry_point = str(job.details.get("entrypoint") or "")
    if _has_file_list(job):
        for name in dict.fromkeys([*([entry_point] if entry_point else []), *(job.details.get("files") or ())]):
            parts = relative_parts(name)
            yield name, ("code", *parts) if parts else None
    else:
        yield from _entry_points(job, entry_point, listed)
        # Nothing else is named, so all code is shown.
        for path, entry in sorted(listed.items()):
            if entry.is_executable and not (entry.reason or _is_generated(path) or _is_result(path)):
                yield path[-1], path
    yield "config.yaml", ("config.yaml",)


def _entry_points(job: Job, name: str, listed: Container[Parts]) -> Iterator[tuple[str, Parts | None]]:
    """The possible places of the entry point `name` in a job without a file list: they depend on the release."""
    folder = str(job.details.get("code_path") or "").rstrip("/").rpartition("/")[2]
    # Beside run.sh; in the submitted folder (0.1.23 and later); below code/ (0.1.3 and 0.1.4).
    for path in dict.fromkeys((name, f"{folder}/{name}", f"code/{name}") if name else ()):
        parts = relative_parts(path)
        if parts is None or parts in listed or _is_in_unlisted_folder(job, parts, listed):
            yield path, parts


def _is_in_unlisted_folder(job: Job, parts: Parts, listed: Container[Parts]) -> bool:
    """Whether the file exists in a folder that has an entry instead of being listed."""
    if not any(parts[:end] in listed for end in range(1, len(parts))):
        return False
    try:
        read_beneath(job.base, (*job.parts, *parts), cap=0)
    except FileNotFoundError:
        return False
    except UnreadableError:
        pass
    return True


class _ShownFiles:
    """The files to show, up to the caps."""

    def __init__(self, job: Job) -> None:
        self.files: list[dict[str, Any]] = []  # {path, text, cut}
        self._job = job
        self._bytes_read = self._bytes_shown = self._bytes_of_names = 0

    def add(self, parts: Parts, entry: FileEntry | None) -> str:
        """Show one file; returns why it is not shown, or an empty text."""
        if entry is not None and entry.reason:
            return entry.reason
        if _is_generated(parts) and not _is_entry_point(self._job, parts):
            return _GENERATED
        path = _display(parts)
        if self._is_full() or self._bytes_of_names + _html_size(path) > _NAMES_CAP:
            return "too much code for one mail"
        job = self._job
        try:
            cap = min(FILE_CAP, TOTAL_CAP - self._bytes_read)
            content, size = read_beneath(job.base, (*job.parts, *parts), cap=cap, allow_hard_links=False)
        except FileNotFoundError:
            return _MISSING
        except UnreadableError as error:
            return f"{error}, not shown"
        self._bytes_read += len(content)
        if b"\0" in content:
            return f"binary, {size} bytes"
        self._show(path, content, is_cut=size > len(content))
        return ""

    def _is_full(self) -> bool:
        return self._bytes_read >= TOTAL_CAP or self._bytes_shown >= SHOWN_CAP or len(self.files) >= _MAX_SHOWN

    def _show(self, path: str, content: bytes, *, is_cut: bool) -> None:
        text = escape_block(content.decode("utf-8", "replace")).encode("utf-8")
        room = SHOWN_CAP - self._bytes_shown
        shown = text[:room].decode("utf-8", "ignore")
        self.files.append({"path": path, "text": shown, "cut": is_cut or len(text) > room})
        self._bytes_shown += min(len(text), room)
        self._bytes_of_names += _html_size(path)


def _unnamed(entry: FileEntry, job: Job) -> _LeftOut:
    """The record of a file that is not shown because nothing names it, or of a folder."""
    reasons = [entry.reason]
    if not entry.is_folder:
        has_list = _has_file_list(job)
        if not has_list and _is_result(entry.parts):
            reasons.append(_RESULT)
        elif _is_generated(entry.parts):
            reasons.append(_GENERATED)
        reasons.append("not in the job's list of files" if has_list else "" if any(reasons) else _NOT_CODE)
    return _LeftOut(
        entry.parts,
        ", ".join(filter(None, reasons)),
        is_folder=entry.is_folder,
        is_executable=entry.is_executable,
    )


def _is_result(parts: Parts) -> bool:
    return len(parts) == 1 and parts[0] in _RESULT_FILES


def _is_entry_point(job: Job, parts: Parts) -> bool:
    """Whether the file is the entry point, directly in the job's folder or one folder below."""
    entry_point = relative_parts(str(job.details.get("entrypoint") or ""))
    return entry_point is not None and parts[-len(entry_point) :] == entry_point and len(parts) <= len(entry_point) + 1


def _is_generated(parts: Parts) -> bool:
    is_hidden = any(part.startswith(".") for part in parts)
    is_generated = any(part in _GENERATED_FOLDERS for part in parts[:-1]) or parts[-1] in _GENERATED_FILES
    return is_hidden or is_generated or parts[-1].endswith(_GENERATED_SUFFIXES)


def _lines(left_out: Sequence[_LeftOut]) -> list[dict[str, str]]:
    """As many entries as there is room for; the rest is counted by folder."""
    lines: list[dict[str, str]] = []
    room = _NAMES_CAP
    for item in left_out[:MAX_NAMED]:
        line = item.to_json()
        room -= _html_size(line["path"] + line["why"])
        if room < 0:
            break
        lines.append(line)
    return lines + _counts(left_out[len(lines) :])


def _counts(left_out: Iterable[_LeftOut]) -> list[dict[str, str]]:
    """The number of entries in each folder; if there are too many folders, in those above them."""
    rest = list(left_out)
    for depth in range(MAX_DEPTH + 2, -1, -1):
        counts = Counter(item.parts[:-1][:depth] for item in rest)
        if len(counts) <= _MAX_COUNTED:
            break
    executable = Counter(item.parts[:-1][:depth] for item in rest if item.is_executable or item.is_folder)
    return [
        {
            "path": _display(folder, is_folder=True),
            "why": f"{count} more in it or below, {executable[folder]} of them executable or folders",
        }
        for folder, count in sorted(counts.items())
    ]


def _display(parts: Parts, *, is_folder: bool = False) -> str:
    return display_path(parts, is_folder=is_folder) or "the job's folder"


def _html_size(text: str) -> int:
    return len(html.escape(text).encode("utf-8"))


def _stderr(job: Job) -> dict[str, Any]:
    try:
        content = read_result(job.base, job.results, "stderr.txt", layout_spec(job.layout), cap=STDERR_CAP + 1)
    except (FileNotFoundError, UnreadableError):
        return {"stderr": "", "stderr_cut": False}
    text = content[-STDERR_CAP:].decode("utf-8", "replace")
    return {"stderr": escape_block(text), "stderr_cut": len(content) > STDERR_CAP}
