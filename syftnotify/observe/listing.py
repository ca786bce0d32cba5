"""The files below a submission: walked through directory descriptors, bounded in depth and count, no link followed."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

from syftnotify.observe.files import UnreadableError, read_inside, scan_inside

MAX_DEPTH = 8  # folders below the job's own
_MAX_NAMES = 20_000  # names that are read of one folder
_MAX_OF_FOLDER = 1000  # entries of one folder that are listed
_MAX_ENTRIES = 5000  # and of all of them
_MAX_HEADS = 500  # files whose first bytes are read

# Thousands of files that no reviewer reads: named as one folder.
_CLOSED = dict.fromkeys((".venv", "venv", "node_modules"), "installed packages, not listed")
_CLOSED |= {"__pycache__": "compiled files, not listed", ".git": "version control, not listed"}

_EXECUTABLE_ENDS = (
    *(".py", ".pyc", ".pyd", ".pyw", ".pyz", ".pth", ".ipynb", ".whl", ".egg", ".pkl", ".pickle", ".joblib", ".pt"),
    *(".sh", ".bash", ".zsh", ".ksh", ".csh", ".fish", ".command", ".bat", ".cmd", ".ps1", ".exe", ".dll", ".so"),
    *(".dylib", ".r", ".rmd", ".rdata", ".rds", ".jl", ".pl", ".rb", ".lua", ".js", ".mjs", ".cjs", ".ts", ".php"),
    *(".m", ".sas", ".do", ".c", ".cc", ".cpp", ".h", ".go", ".rs", ".java", ".scala", ".jar", ".class", ".wasm"),
)
_EXECUTABLE_NAMES = frozenset({"makefile", "dockerfile", "justfile", "snakefile"})
_EXECUTABLE_HEADS = (b"#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")


@dataclass(frozen=True, slots=True)
class Listed:
    """One file, or a folder that is not listed; `parts` are relative to the job's own folder."""

    parts: tuple[str, ...]
    why: str = ""  # why it cannot be shown; empty: a regular file
    is_folder: bool = False
    is_executable: bool = False


def is_executable_name(name: str) -> bool:
    """Whether a file of that name is run or loaded by something, as far as its ending shows."""
    lowered = name.lower()
    return lowered.endswith(_EXECUTABLE_ENDS) or ".so." in lowered or lowered in _EXECUTABLE_NAMES


def list_files(base: str, parts: tuple[str, ...], *, closed: Mapping[str, str]) -> list[Listed]:
    """Every file below the folder `parts` of `base`; what is not listed is there as the folder that holds it.

    `closed` names folders directly in it that are not listed, and why.
    """
    listed: list[Listed] = []
    folders: deque[tuple[str, ...]] = deque([()])
    while folders:  # the folders above come first: who nests thousands below one hides nothing beside it
        folder = folders.popleft()
        if len(folder) > MAX_DEPTH:
            listed.append(Listed(folder, "nested too deep, not listed", is_folder=True))
            continue
        room = min(_MAX_OF_FOLDER, _MAX_ENTRIES - len(listed) - len(folders))
        for item in _scan(base, parts, folder, max(room, 0)):
            why = _CLOSED.get(item.parts[-1]) or (not folder and closed.get(item.parts[-1])) if item.parts else ""
            if item.is_folder and not item.why and not why:
                folders.append(item.parts)
            else:
                listed.append(replace(item, why=why) if item.is_folder and why else item)
    return _with_heads(base, parts, listed)


def _scan(base: str, parts: tuple[str, ...], folder: tuple[str, ...], room: int) -> list[Listed]:
    """What lies directly in one folder, as far as there is room; the folder itself with what is left."""
    try:
        with scan_inside(base, (*parts, *folder)) as entries:
            found = sorted(islice(entries, _MAX_NAMES), key=_executables_first)
            listed = [_entry(each, (*folder, each.name)) for each in found[:room]]
    except OSError as error:
        return [Listed(folder, f"cannot be read: {error.strerror}", is_folder=True)]
    if len(found) > room:
        count = f"more than {_MAX_NAMES}" if len(found) == _MAX_NAMES else str(len(found) - room)
        listed.append(Listed(folder, f"{count} more names in it, not listed", is_folder=True))
    return listed


def _executables_first(entry: os.DirEntry[str]) -> tuple[int, str]:
    is_folder = entry.is_dir(follow_symlinks=False)
    return (1 if is_folder else 0 if is_executable_name(entry.name) else 2), entry.name


def _entry(entry: os.DirEntry[str], parts: tuple[str, ...]) -> Listed:
    if entry.is_dir(follow_symlinks=False):
        return Listed(parts, is_folder=True)
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:
        return Listed(parts, f"cannot be read: {error.strerror}", is_executable=is_executable_name(entry.name))
    if stat.S_ISLNK(found.st_mode):
        return Listed(parts, "symbolic link, not followed", is_executable=True)  # to whatever it points
    if not stat.S_ISREG(found.st_mode):
        return Listed(parts, "not a regular file")
    is_executable = is_executable_name(entry.name) or bool(found.st_mode & 0o111)
    return Listed(parts, "hard link, not shown" if found.st_nlink > 1 else "", is_executable=is_executable)


def _with_heads(base: str, parts: tuple[str, ...], listed: list[Listed]) -> list[Listed]:
    """The same, with some more marked as executable by their first bytes."""
    doubtful = [item for item in listed if not (item.why or item.is_executable)]
    found = {item.parts for item in doubtful[:_MAX_HEADS] if _begins_as_executable(base, (*parts, *item.parts))}
    return [replace(item, is_executable=True) if item.parts in found else item for item in listed]


def _begins_as_executable(base: str, parts: tuple[str, ...]) -> bool:
    try:
        return read_inside(base, parts, cap=4)[0].startswith(_EXECUTABLE_HEADS)
    except (FileNotFoundError, UnreadableError):
        return False
