"""The files below a submission: walked through directory descriptors, bounded in depth and count, no link followed."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from syftnotify.core.text import escape, plural
from syftnotify.sources.syftbox.safe_files import UnreadableError, read_beneath, scan_beneath

MAX_DEPTH = 8  # folders below the job's own
_MAX_NAMES = 20_000  # names that are read of one folder
_MAX_OF_FOLDER = 1000  # entries of one folder that are listed
_MAX_ENTRIES = 5000  # and of all of them; as many are counted in closed folders
_MAX_HEADS = 500  # files whose first bytes are read
_MAX_EXECUTABLES = 3  # files of a closed folder that are named
_LONGEST_PATH = 100  # characters

# Often thousands of files that no reviewer reads: counted, and named as one folder.
_CLOSED = frozenset({".venv", "venv", "node_modules", "__pycache__", ".git"})

_EXECUTABLE_ENDS = (
    *(".py", ".pyc", ".pyd", ".pyw", ".pyz", ".pth", ".ipynb", ".whl", ".egg", ".pkl", ".pickle", ".joblib", ".pt"),
    *(".sh", ".bash", ".zsh", ".ksh", ".csh", ".fish", ".command", ".bat", ".cmd", ".ps1", ".exe", ".dll", ".so"),
    *(".dylib", ".r", ".rmd", ".rdata", ".rds", ".jl", ".pl", ".rb", ".lua", ".js", ".mjs", ".cjs", ".ts", ".php"),
    *(".m", ".sas", ".do", ".c", ".cc", ".cpp", ".h", ".go", ".rs", ".java", ".scala", ".jar", ".class", ".wasm"),
)
_EXECUTABLE_NAMES = frozenset({"makefile", "dockerfile", "justfile", "snakefile"})
_EXECUTABLE_HEADS = (b"#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")

_Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """One file, or a folder that is not listed; `parts` are relative to the job's own folder."""

    parts: _Parts
    why: str = ""  # why it cannot be shown; empty: a regular file
    is_folder: bool = False
    is_executable: bool = False


def is_executable_name(name: str) -> bool:
    """Whether a file of that name is run or loaded by something, as far as its ending shows."""
    lowered = name.lower()
    return lowered.endswith(_EXECUTABLE_ENDS) or ".so." in lowered or lowered in _EXECUTABLE_NAMES


def shown_path(parts: Sequence[str], *, is_folder: bool = False) -> str:
    """A path as it is shown; a long one without its middle."""
    path = escape("/".join(parts) + ("/" if is_folder and parts else ""), limit=5000)
    return path if len(path) <= _LONGEST_PATH else f"{path[:39]}…{path[40 - _LONGEST_PATH :]}"


def list_files(base: str, parts: _Parts, *, closed: Collection[str]) -> list[Listed]:
    """Every file below the folder `parts` of `base`; what is not listed is there as the folder that holds it.

    `closed` names folders directly in it that are not listed but counted, like those that `_CLOSED` names anywhere.
    """
    listed, closed_folders = _walk(base, parts, (), _MAX_ENTRIES, closed)
    counted: list[tuple[_Parts, list[Listed]]] = []
    room = _MAX_ENTRIES
    for index, folder in enumerate(closed_folders):
        # Each has its share: a folder with thousands of files hides nothing in another.
        found, _ = _walk(base, parts, folder, room // (len(closed_folders) - index), None)
        room -= sum(not item.is_folder for item in found)
        counted.append((folder, found))
    begun = _begun_as_executable(base, parts, [*listed, *(item for _, found in counted for item in found)])
    listed = [_marked(item, begun) for item in listed]
    return listed + [_summary(folder, [_marked(item, begun) for item in found]) for folder, found in counted]


def _walk(
    base: str, parts: _Parts, start: _Parts, most: int, closed: Collection[str] | None
) -> tuple[list[Listed], list[_Parts]]:
    """At most `most` files below `start`, and the closed folders; None for `closed`: no folder is closed."""
    listed: list[Listed] = []
    closed_folders: list[_Parts] = []
    folders = deque([start])
    while folders:  # the folders above come first: who nests thousands below one hides nothing beside it
        folder = folders.popleft()
        if len(folder) > MAX_DEPTH:
            listed.append(Listed(folder, "nested too deep, not listed", is_folder=True))
            continue
        room = most - len(listed) - len(folders) - len(closed_folders)
        for item in _scan(base, parts, folder, max(room if closed is None else min(room, _MAX_OF_FOLDER), 0)):
            if not item.is_folder or item.why:
                listed.append(item)
            elif closed is not None and (item.parts[-1] in _CLOSED or (not folder and item.parts[-1] in closed)):
                closed_folders.append(item.parts)
            else:
                folders.append(item.parts)
    return listed, closed_folders


def _summary(folder: _Parts, inside: Sequence[Listed]) -> Listed:
    """One line for a closed folder: how many files it contains, and what of them may be executed."""
    if len(inside) == 1 and inside[0].parts == folder:  # nothing in it was read, and the reason is known
        return inside[0]
    files = [item for item in inside if not item.is_folder]
    executable = [shown_path(item.parts[len(folder) :]) for item in files if item.is_executable]
    # What is there as a folder was not read to its end.
    count = (
        f"{'at least ' if len(files) < len(inside) else ''}{plural(len(files), 'file')}, {len(executable)} executable"
    )
    names = executable[:_MAX_EXECUTABLES] + ["…"] * (len(executable) > _MAX_EXECUTABLES)
    return Listed(folder, f"not listed: {count}{': ' if names else ''}{', '.join(names)}", is_folder=True)


def _scan(base: str, parts: _Parts, folder: _Parts, room: int) -> list[Listed]:
    """What lies directly in one folder, as far as there is room; the folder itself with what is left."""
    try:
        with scan_beneath(base, (*parts, *folder)) as entries:
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


def _entry(entry: os.DirEntry[str], parts: _Parts) -> Listed:
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


def _begun_as_executable(base: str, parts: _Parts, listed: Sequence[Listed]) -> set[_Parts]:
    """Which other files are executable by their first bytes."""
    doubtful = [item for item in listed if not (item.why or item.is_executable)]
    return {item.parts for item in doubtful[:_MAX_HEADS] if _begins_as_executable(base, (*parts, *item.parts))}


def _marked(item: Listed, executable: Collection[_Parts]) -> Listed:
    return replace(item, is_executable=True) if item.parts in executable else item


def _begins_as_executable(base: str, parts: _Parts) -> bool:
    try:
        return read_beneath(base, parts, cap=4)[0].startswith(_EXECUTABLE_HEADS)
    except (FileNotFoundError, UnreadableError):
        return False
