"""List the files of a submission through directory descriptors: bounded in depth and count, no link followed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.text import escape, plural
from syftnotify.sources.syftbox.files.safe_read import UnreadableError, read_beneath, scan_beneath

MAX_DEPTH = 8  # folders below the job's own
_MAX_NAMES = 20_000  # names read of one folder
_MAX_PER_FOLDER = 1000  # entries listed of one folder
_MAX_ENTRIES = 5000  # entries listed in all; and as many counted in collapsed folders
_MAX_HEADS = 500  # files whose first bytes are read
_MAX_EXECUTABLES = 3  # executable files named of a collapsed folder
_MAX_PATH = 100  # characters
_HASHED_PER_FILE = 1024 * 1024  # bytes of one file in a fingerprint
_HASHED = 32 * 1024 * 1024  # bytes of all files

# Collapsed at any depth: they often contain thousands of files that no reviewer reads.
_COLLAPSED = frozenset({".venv", "venv", "node_modules", "__pycache__", ".git"})

_EXECUTABLE_SUFFIXES = (
    *(".py", ".pyc", ".pyd", ".pyw", ".pyz", ".pth", ".ipynb", ".whl", ".egg", ".pkl", ".pickle", ".joblib", ".pt"),
    *(".sh", ".bash", ".zsh", ".ksh", ".csh", ".fish", ".command", ".bat", ".cmd", ".ps1", ".exe", ".dll", ".so"),
    *(".dylib", ".r", ".rmd", ".rdata", ".rds", ".jl", ".pl", ".rb", ".lua", ".js", ".mjs", ".cjs", ".ts", ".php"),
    *(".m", ".sas", ".do", ".c", ".cc", ".cpp", ".h", ".go", ".rs", ".java", ".scala", ".jar", ".class", ".wasm"),
)
_EXECUTABLE_NAMES = frozenset({"makefile", "dockerfile", "justfile", "snakefile"})
_EXECUTABLE_HEADS = (b"#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")

Parts = tuple[str, ...]  # a path relative to the job's folder


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file, or a folder whose content is not listed."""

    parts: Parts
    reason: str = ""  # why it cannot be shown; empty: a regular file
    is_folder: bool = False
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class FileHashes:
    """Hashes of files."""

    by_path: dict[str, str]  # 32 hexadecimal digits by `unique_path`
    is_complete: bool  # whether all of their contents are in it

    @property
    def fingerprint(self) -> str:
        """The hash of all of them, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, value in self.by_path.items():
            path = name.encode("utf-8", "surrogateescape")
            digest.update(b"%d %s %s " % (len(path), path, value.encode("ascii")))
        return digest.hexdigest()


def is_executable_name(name: str) -> bool:
    """Whether files with that name are usually run or loaded by a program."""
    lowered = name.lower()
    return lowered.endswith(_EXECUTABLE_SUFFIXES) or ".so." in lowered or lowered in _EXECUTABLE_NAMES


def display_path(parts: Sequence[str], *, is_folder: bool = False) -> str:
    """An escaped path for a message; the middle of a long one is left out."""
    path = escape("/".join(parts) + ("/" if is_folder and parts else ""), limit=5000)
    return path if len(path) <= _MAX_PATH else f"{path[:39]}…{path[40 - _MAX_PATH :]}"


def unique_path(parts: Sequence[str]) -> str:
    """As `display_path`; one that is not shown as it is, has a suffix, so that no two files have the same."""
    shown, raw = display_path(parts), "/".join(parts)
    return shown if shown == raw else f"{shown} [{stable_hash(raw)[:8]}]"


def list_files(base: str, parts: Parts, *, collapsed: Collection[str] | None) -> list[FileEntry]:
    """Every file below the folder `parts` of `base`. A folder whose content is not listed has an entry of its own.

    In folders directly below it that are named in `collapsed`, files are counted and not listed, as in `.git`, `.venv`
    and the like at any depth. None collapses no folder, and lists more entries of one.
    """
    listed, collapsed_folders = _walk(base, parts, (), _MAX_ENTRIES, collapsed)
    counted: list[tuple[Parts, list[FileEntry]]] = []
    room = _MAX_ENTRIES
    for index, folder in enumerate(collapsed_folders):
        # Each folder has its share, so that one with thousands of files does not hide another's.
        found, _ = _walk(base, parts, folder, room // (len(collapsed_folders) - index), None)
        room -= sum(not entry.is_folder for entry in found)
        counted.append((folder, found))
    executable = _executable_by_content(base, parts, [*listed, *(entry for _, found in counted for entry in found)])
    listed = [_marked(entry, executable) for entry in listed]
    return listed + [_summary(folder, [_marked(entry, executable) for entry in found]) for folder, found in counted]


def _walk(
    base: str, parts: Parts, start: Parts, limit: int, collapsed: Collection[str] | None
) -> tuple[list[FileEntry], list[Parts]]:
    """At most `limit` entries below `start`, and the collapsed folders; with None, no folder is collapsed."""
    listed: list[FileEntry] = []
    collapsed_folders: list[Parts] = []
    folders = deque([start])
    while folders:  # breadth first, so that deep nesting below one folder hides nothing beside it
        folder = folders.popleft()
        if len(folder) > MAX_DEPTH:
            listed.append(FileEntry(folder, "nested too deep, not listed", is_folder=True))
            continue
        room = limit - len(listed) - len(folders) - len(collapsed_folders)
        for entry in _list_folder(
            base, parts, folder, max(room if collapsed is None else min(room, _MAX_PER_FOLDER), 0)
        ):
            if not entry.is_folder or entry.reason:
                listed.append(entry)
            elif _is_collapsed(entry.parts, collapsed):
                collapsed_folders.append(entry.parts)
            else:
                folders.append(entry.parts)
    return listed, collapsed_folders


def _is_collapsed(folder: Parts, collapsed: Collection[str] | None) -> bool:
    if collapsed is None:
        return False
    return folder[-1] in _COLLAPSED or (len(folder) == 1 and folder[0] in collapsed)


def _summary(folder: Parts, found: Sequence[FileEntry]) -> FileEntry:
    """The entry of a collapsed folder: how many files it contains, and which of them are executable."""
    if len(found) == 1 and found[0].parts == folder:  # it could not be read, for the reason given there
        return found[0]
    files = [entry for entry in found if not entry.is_folder]
    executable = [display_path(entry.parts[len(folder) :]) for entry in files if entry.is_executable]
    at_least = "at least " if len(files) < len(found) else ""  # folders in `found` were not listed completely
    names = executable[:_MAX_EXECUTABLES] + ["…"] * (len(executable) > _MAX_EXECUTABLES)
    reason = f"not listed: {at_least}{plural(len(files), 'file')}, {len(executable)} executable"
    return FileEntry(folder, f"{reason}{': ' if names else ''}{', '.join(names)}", is_folder=True)


def _list_folder(base: str, parts: Parts, folder: Parts, room: int) -> list[FileEntry]:
    """At most `room` entries directly in one folder, and the folder itself if there are more."""
    try:
        with scan_beneath(base, (*parts, *folder)) as entries:
            found = sorted(islice(entries, _MAX_NAMES), key=_by_executable_name)
            listed = [_entry(each, (*folder, each.name)) for each in found[:room]]
    except OSError as error:
        return [FileEntry(folder, f"cannot be read: {error.strerror}", is_folder=True)]
    if len(found) > room:
        count = f"more than {_MAX_NAMES}" if len(found) == _MAX_NAMES else str(len(found) - room)
        listed.append(FileEntry(folder, f"{count} more names in it, not listed", is_folder=True))
    return listed


def _by_executable_name(entry: os.DirEntry[str]) -> tuple[int, str]:
    """Sort key: files with executable names, then folders, then the rest."""
    is_folder = entry.is_dir(follow_symlinks=False)
    return (1 if is_folder else 0 if is_executable_name(entry.name) else 2), entry.name


def _entry(entry: os.DirEntry[str], parts: Parts) -> FileEntry:
    if entry.is_dir(follow_symlinks=False):
        return FileEntry(parts, is_folder=True)
    is_executable = is_executable_name(entry.name)
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return FileEntry(parts, f"cannot be read: {error.strerror}", is_executable=is_executable)
    if stat.S_ISLNK(status.st_mode):
        return FileEntry(parts, "symbolic link, not followed", is_executable=True)  # its target may be executable
    if not stat.S_ISREG(status.st_mode):
        return FileEntry(parts, "not a regular file")
    reason = "hard link, not shown" if status.st_nlink > 1 else ""
    return FileEntry(parts, reason, is_executable=is_executable or bool(status.st_mode & 0o111))


def _executable_by_content(base: str, parts: Parts, listed: Sequence[FileEntry]) -> set[Parts]:
    """Which other files are executable according to their first bytes."""
    candidates = [entry for entry in listed if not (entry.reason or entry.is_executable)]
    return {entry.parts for entry in candidates[:_MAX_HEADS] if _has_executable_head(base, (*parts, *entry.parts))}


def _marked(entry: FileEntry, executable: Collection[Parts]) -> FileEntry:
    return replace(entry, is_executable=True) if entry.parts in executable else entry


def _has_executable_head(base: str, parts: Parts) -> bool:
    try:
        return read_beneath(base, parts, cap=4)[0].startswith(_EXECUTABLE_HEADS)
    except (FileNotFoundError, UnreadableError):
        return False


def hash_files(base: str, parts: Parts, entries: Iterable[FileEntry], *, is_complete: bool = True) -> FileHashes:
    """Hashes (SHA-256) over the sizes and contents of the regular files in `entries`.

    Of a file that cannot be read, and of the rest of a very large one, the reason and the size are in it instead.
    `is_complete` is False if there are more files.
    """
    hashes: dict[str, str] = {}
    room = _HASHED
    for entry in sorted(entries, key=lambda each: each.parts):
        if entry.is_folder:
            continue
        try:
            cap = min(_HASHED_PER_FILE, room)
            content, size = read_beneath(base, (*parts, *entry.parts), cap=cap, allow_hard_links=False)
        except (FileNotFoundError, UnreadableError) as error:
            content, size = (entry.reason or str(error)).encode("utf-8", "surrogateescape"), -1
        room -= len(content)
        is_complete = is_complete and size <= len(content)
        hashes[unique_path(entry.parts)] = hashlib.sha256(b"%d " % size + content).hexdigest()[:32]
    return FileHashes(hashes, is_complete)
