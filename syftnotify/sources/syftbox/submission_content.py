"""Reading the files of a submission: bounded, and copied while the job exists.

Every file of a submission is either read or listed as left out.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from syftnotify.core.kinds import Status
from syftnotify.core.models import Job
from syftnotify.core.text import escape_block, html_size
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath
from syftnotify.sources.syftbox.layouts.registry import layout_spec
from syftnotify.sources.syftbox.names import relative_parts
from syftnotify.sources.syftbox.submission_files import (
    MAX_DEPTH,
    FileEntry,
    FileHashes,
    Parts,
    display_path,
    hash_files,
    is_executable_name,
    list_files,
    unique_path,
)

FILE_CAP = 50 * 1024  # bytes read of one file of code
TOTAL_CAP = 500 * 1024  # bytes read of all the code of one job
_MAX_FILES = 300  # read of one job
_MAX_SIGNED = 20_000  # files in a signature
MAX_NAMED = 200  # files named as left out; the rest is counted by folder
_MAX_COUNTED = 40  # folders with such a count
# Bytes of HTML for the names of files that are left out: Gmail clips a mail at 102 KB.
_NAMES_CAP = 24 * 1024

_MAX_READS = 3
_MISSING = "not there"
_GENERATED = "name of a hidden or generated file"
_RESULT = "name of a result or mark of the client"
_NOT_CODE = "no known code suffix"
_BINARY = "binary"  # followed by the size

_GENERATED_FOLDERS = frozenset({"__pycache__", "node_modules", "outputs", "logs", "build", "dist", "venv"})
_GENERATED_FILES = frozenset({"syft.pub.yaml", "uv.lock", "poetry.lock", "package-lock.json"})
_GENERATED_SUFFIXES = (".pyc", ".pyo", ".egg-info", ".so", ".class")
# What the run of a job adds to its folder: in `code/` of the layouts with a list of files, otherwise beside run.sh.
_MARKERS = frozenset({("approved",), ("done",), (".approved",), (".done",)})
RESULT_FOLDERS = frozenset({"outputs", "logs"})
_RUN_FOLDERS = RESULT_FOLDERS | {".venv", "__pycache__"}
_RESULT_FILES = frozenset(
    {"approved", "done", ".approved", ".done", "stdout.txt", "stderr.txt", "returncode.txt", "syft.pub.yaml"}
)


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file that was read as text."""

    path: str  # relative to the job's folder, escaped
    text: str  # escaped
    is_cut: bool = False  # its end was not read
    is_entry_point: bool = False


@dataclass(frozen=True, slots=True)
class SubmissionContent:
    """The files of a submission."""

    files: list[CodeFile]  # in the order in which they were read
    # {path, why}, the flags `binary`, `unlisted`, `executable`, and `count` of several files; `why` may be empty
    left_out: list[dict[str, Any]]
    fingerprint: str  # SHA-256 over the paths and contents of all files
    hashes: dict[str, str]  # by path: of the same files, one by one
    is_complete: bool  # False: some files are too large or too many for the fingerprint

    @property
    def count(self) -> int:
        """The number of files."""
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """A file that is not shown, or a folder whose content is not listed."""

    parts: Parts
    reason: str
    is_named: bool = False  # in the job's own list of files
    is_folder: bool = False
    is_executable: bool = False
    is_binary: bool = False
    is_unlisted: bool = False  # the job has a list of files without it

    @property
    def rank(self) -> tuple[bool, bool, Parts]:
        """Sort key: files that the job does not name come first, and of these executable ones and folders."""
        return self.is_named, not (self.is_executable or self.is_folder), self.parts

    def to_json(self) -> dict[str, Any]:
        why = [self.reason.removeprefix(f"{_BINARY}, ")]
        if self.is_executable and not self.is_folder:
            why.append("executable")
        flags = {"binary": self.is_binary, "unlisted": self.is_unlisted, "executable": self.is_executable}
        flags = {name: True for name, is_set in flags.items() if is_set and not self.is_folder}
        return {"path": _display(self.parts, is_folder=self.is_folder), "why": ", ".join(filter(None, why)), **flags}


def read_submission(job: Job) -> SubmissionContent:
    """Read the files of a submission.

    The entry point is read first, then `run.sh`, so that no number of other files can take their place. If files change
    meanwhile, all are read again, so that texts and hashes are those of the same files.
    """
    for _ in range(_MAX_READS):
        before = submission_signature(job)
        content = _read(job)
        if submission_signature(job) == before:
            break
    return content


def _read(job: Job) -> SubmissionContent:
    listed = {entry.parts: entry for entry in _list_files(job)}
    left_out: list[_LeftOut] = []
    named: dict[Parts, None] = {}  # in the order in which they are read
    for name, parts in _named_files(job, listed):
        if parts is None:
            left_out.append(_LeftOut((name,), "not a name inside the job", is_named=True))
        else:
            named[parts] = None
    reader = _FileReader(job)
    for parts in named:
        entry = listed.get(parts)
        if reason := reader.add(parts, entry):
            is_executable = entry.is_executable if entry else reason != _MISSING and is_executable_name(parts[-1])
            is_binary = reason.startswith(_BINARY)
            left_out.append(_LeftOut(parts, reason, is_named=True, is_executable=is_executable, is_binary=is_binary))
    left_out += [_unnamed(entry, job) for parts, entry in listed.items() if parts not in named or entry.is_folder]
    hashes = hash_submission(job)
    left_out_lines = _lines(sorted(left_out, key=lambda each: each.rank))
    return SubmissionContent(reader.files, left_out_lines, hashes.fingerprint, hashes.by_path, hashes.is_complete)


def hash_submission(job: Job, only: Container[str] | None = None) -> FileHashes:
    """The hashes of all files of a submission, or of those with the paths `only`.

    Before a run, every file counts, because it could be run. Afterwards, what runs usually add is left out.
    """
    declared = _declared_files(job)
    listed = list_files(job.base, job.parts, collapsed=None)
    entries = {
        entry.parts: entry
        for entry in listed
        if (_is_hashed(entry.parts, job, declared) if only is None else unique_path(entry.parts) in only)
    }
    entries |= {parts: FileEntry(parts) for parts in declared if parts not in entries and _exists(job, parts)}
    is_listed = not any(entry.is_folder and entry.reason for entry in listed)
    return hash_files(job.base, job.parts, entries.values(), is_complete=is_listed)


def _is_hashed(parts: Parts, job: Job, declared: Container[Parts]) -> bool:
    """Whether a file is part of what the owner decides about."""
    if not _has_file_list(job) and parts in _MARKERS:
        return False
    return job.status is Status.WAITING or parts in declared or not is_of_run(parts, job)


def _declared_files(job: Job) -> set[Parts]:
    """The places of the files that the job names: its entry point, and those on its list."""
    entry_point = str(job.details.get("entrypoint") or "")
    if _has_file_list(job):
        names = [entry_point, *(job.details.get("files") or ())]
        return {parts for name in names if name and (parts := _in_code_folder(name))}
    return {parts for path in _possible_entry_points(job, entry_point) if (parts := relative_parts(path))}


def _exists(job: Job, parts: Parts) -> bool:
    return os.path.lexists(os.path.join(job.base, *job.parts, *parts))


def _list_files(job: Job) -> list[FileEntry]:
    collapsed = frozenset[str]() if _has_file_list(job) else RESULT_FOLDERS
    return list_files(job.base, job.parts, collapsed=collapsed)


def _has_file_list(job: Job) -> bool:
    return layout_spec(job.layout).has_file_list


def _named_files(job: Job, listed: dict[Parts, FileEntry]) -> Iterator[tuple[str, Parts | None]]:
    """The names to read and their paths in the job's folder; None for a name that leads outside.

    The files that run come first, then the configuration, then those that the job names.
    """
    entry_point = str(job.details.get("entrypoint") or "")
    if _has_file_list(job):
        if entry_point:
            yield entry_point, _in_code_folder(entry_point)
    else:
        yield from _entry_points(job, entry_point, listed)
    yield "run.sh", ("run.sh",)
    yield "config.yaml", ("config.yaml",)
    if _has_file_list(job):
        for name in job.details.get("files") or ():
            yield name, _in_code_folder(name)
    else:
        # Nothing else is named, so all code is shown.
        for path, entry in sorted(listed.items()):
            if entry.is_executable and not (entry.reason or _is_generated(path) or _is_result(path)):
                yield path[-1], path


def _in_code_folder(name: str) -> Parts | None:
    parts = relative_parts(name)
    return ("code", *parts) if parts else None


def _entry_points(job: Job, name: str, listed: Container[Parts]) -> Iterator[tuple[str, Parts | None]]:
    """The possible places of the entry point `name` in a job without a file list: they depend on the release."""
    for path in _possible_entry_points(job, name):
        parts = relative_parts(path)
        if parts is None or parts in listed or _is_in_unlisted_folder(job, parts, listed):
            yield path, parts


def _possible_entry_points(job: Job, name: str) -> dict[str, None]:
    folder = str(job.details.get("code_path") or "").rstrip("/").rpartition("/")[2]
    # Beside run.sh; in the submitted folder (0.1.23 and later); below code/ (0.1.3 and 0.1.4).
    return dict.fromkeys((name, f"{folder}/{name}", f"code/{name}") if name else ())


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


class _FileReader:
    """Reads files as text, up to the caps."""

    def __init__(self, job: Job) -> None:
        self.files: list[CodeFile] = []
        self._job = job
        self._bytes_read = 0

    def add(self, parts: Parts, entry: FileEntry | None) -> str:
        """Read one file; returns why it is left out, or an empty text."""
        if entry is not None and entry.reason:
            return entry.reason
        is_entry_point = _is_entry_point(self._job, parts)
        if _is_generated(parts) and not is_entry_point:
            return _GENERATED
        if self._bytes_read >= TOTAL_CAP or len(self.files) >= _MAX_FILES:
            return "more code than is read of one job"
        job = self._job
        try:
            cap = min(FILE_CAP, TOTAL_CAP - self._bytes_read)
            content, size = read_beneath(job.base, (*job.parts, *parts), cap=cap, allow_hard_links=False)
        except FileNotFoundError:
            return _MISSING
        except UnreadableError as error:
            return str(error)
        self._bytes_read += len(content)
        if b"\0" in content:
            return f"{_BINARY}, {size} bytes"
        text = escape_block(content.decode("utf-8", "replace"))
        self.files.append(CodeFile(unique_path(parts), text, size > len(content), is_entry_point))
        return ""


def _unnamed(entry: FileEntry, job: Job) -> _LeftOut:
    """The record of a file that is not shown because nothing names it, or of a folder."""
    reasons = [entry.reason]
    if not entry.is_folder:
        has_list = _has_file_list(job)
        if not has_list and _is_result(entry.parts):
            reasons.append(_RESULT)
        elif _is_generated(entry.parts):
            reasons.append(_GENERATED)
        if not has_list and not any(reasons):
            reasons.append(_NOT_CODE)
    return _LeftOut(
        entry.parts,
        ", ".join(filter(None, reasons)),
        is_folder=entry.is_folder,
        is_executable=entry.is_executable,
        is_unlisted=not entry.is_folder and _has_file_list(job),
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


def _lines(left_out: Sequence[_LeftOut]) -> list[dict[str, Any]]:
    """As many entries as there is room for; the rest is counted by folder."""
    lines: list[dict[str, Any]] = []
    room = _NAMES_CAP
    for item in left_out[:MAX_NAMED]:
        line = item.to_json()
        room -= html_size(line["path"] + line["why"])
        if room < 0:
            break
        lines.append(line)
    return lines + _counts(left_out[len(lines) :])


def _counts(left_out: Iterable[_LeftOut]) -> list[dict[str, Any]]:
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
            "count": count,
        }
        for folder, count in sorted(counts.items())
    ]


def _display(parts: Parts, *, is_folder: bool = False) -> str:
    return display_path(parts, is_folder=is_folder) or "the job's folder"


def is_of_run(parts: Parts, job: Job) -> bool:
    """Whether the file is one of those that runs usually add: results, and the environment."""
    folders = parts[:-1]
    is_in_folder = any(part in _RUN_FOLDERS for part in folders[:2]) or ".venv" in folders or "__pycache__" in folders
    return is_in_folder or (not _has_file_list(job) and _is_result(parts))


class SubmissionSignature(NamedTuple):
    """What the file system says about a submission's files, without reading them."""

    value: int  # changes with their names, sizes, times and inodes
    changed_at: float  # the latest of their times, in seconds since 1970


def submission_signature(job: Job) -> SubmissionSignature:
    """The signature of a submission as it is now."""
    declared = _declared_files(job)
    found = [_signed(job, parts) for parts in declared]
    folders: list[Parts] = [()]
    while folders and len(found) < _MAX_SIGNED:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(job.base, *job.parts, *folder)) as entries:
                for entry in entries:
                    parts = (*folder, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        if len(parts) <= MAX_DEPTH and _is_hashed((*parts, ""), job, declared):
                            folders.append(parts)
                    elif _is_hashed(parts, job, declared):
                        found.append(_signed(job, parts, entry))
        except OSError:
            found.append((folder, -1, 0, 0))
    return SubmissionSignature(hash(tuple(sorted(found))), max((each[2] for each in found), default=0) / 1e9)


def _signed(job: Job, parts: Parts, entry: os.DirEntry[str] | None = None) -> tuple[Parts, int, int, int]:
    """What a signature has of one file."""
    try:
        if entry is not None:
            status = entry.stat(follow_symlinks=False)
        else:
            status = os.lstat(os.path.join(job.base, *job.parts, *parts))
    except (OSError, ValueError):  # gone, or a name that no file can have
        return parts, -1, 0, 0
    return parts, status.st_size, status.st_mtime_ns, status.st_ino
