"""Owner and mode of a file: who else can read or change it, and the command that stops them."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Owner:
    """The user who owns a file."""

    name: str
    is_current_user: bool


@dataclass(frozen=True, slots=True)
class PermissionProblem:
    """Why other users can read or change a file; its text names the command that prevents it."""

    text: str
    command: str

    def __str__(self) -> str:
        return f"{self.text}: run `{self.command}`"


def owner_of(path: str | Path) -> Owner | None:
    """The owner of `path`; None if it does not exist, or the system has no owners."""
    if not hasattr(os, "geteuid"):
        return None
    try:
        uid = Path(path).stat().st_uid
    except OSError:
        return None
    return Owner(_user_name(uid, default=f"user {uid}"), uid == os.geteuid())


def owner_suffix(path: str | Path) -> str:
    """` (it belongs to root)`, for an error about a file of another user; otherwise empty."""
    owner = owner_of(path)
    return "" if owner is None or owner.is_current_user else f" (it belongs to {owner.name})"


def mode_problem(path: Path) -> PermissionProblem | None:
    """The problem of a file with secrets whose mode lets others read or write it; None if it does not."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    # Others may list a folder: the files in it have their own modes.
    if not hasattr(os, "geteuid") or not mode & (0o022 if path.is_dir() else 0o077):
        return None
    return PermissionProblem(
        f"{path} is open to others (mode {mode:04o})", f"chmod {'700' if path.is_dir() else '600'} {_quote(path)}"
    )


def secret_file_problem(path: Path) -> PermissionProblem | None:
    """The first problem of a file with secrets that another user owns, or others can read; None if neither."""
    owner = owner_of(path)
    if owner is None or owner.is_current_user:
        return mode_problem(path)
    return next(write_access_problems(path), None)


def foreign_owner(path: Path) -> PermissionProblem | None:
    """The problem of a file of the program that belongs to another user, root included."""
    owner = owner_of(path)
    if owner is None or owner.is_current_user:
        return None
    return PermissionProblem(f"{path} belongs to {owner.name}", f"sudo chown {_current_user()} {_quote(path)}")


def write_access_problems(path: Path) -> Iterator[PermissionProblem]:
    """Each reason why a user other than root can change `path`; nothing if the system has no owners."""
    if not hasattr(os, "geteuid"):
        return
    try:
        yield from _problems(path, path.stat())
        if path.is_symlink():  # others can replace the target if they can write to its folder
            folder = path.resolve().parent
            found = folder.stat()
            if not found.st_mode & stat.S_ISVTX:
                yield from _problems(folder, found)
    except OSError:  # the code that reads the file reports this
        return


def _problems(path: Path, found: os.stat_result) -> Iterator[PermissionProblem]:
    owner = owner_of(path)
    if owner is not None and not owner.is_current_user and found.st_uid != 0:
        yield PermissionProblem(f"{path} belongs to {owner.name}", f"chown {_current_user()} {_quote(path)}")
    if found.st_mode & WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        yield PermissionProblem(f"{path} can be written by others (mode {mode:04o})", f"chmod go-w {_quote(path)}")


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def _current_user() -> str:
    return _user_name(os.geteuid(), default=str(os.geteuid()))


def _user_name(uid: int, *, default: str) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return default
