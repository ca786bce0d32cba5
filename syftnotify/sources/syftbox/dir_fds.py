"""How is a file of the tree read? Small, regular, inside its folder, through no link, and never for ever."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

MAX_NAMES = 200_000  # a folder that holds more is read to here, and the rest left out
# A file written in the same clock tick as our look can change again and keep its numbers.
RACY_SECONDS = 2.0

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER_FLAGS = _FLAGS | getattr(os, "O_DIRECTORY", 0)
HAS_DIR_FD = os.open in os.supports_dir_fd

# Why a file was not opened, where the system's own words would mislead.
_REASONS = {errno.ELOOP: "a symbolic link", errno.ENXIO: "not a regular file"}

Signature = tuple[int, int, int]
GONE: Signature = (0, 0, 0)


class UnreadableError(Exception):
    """A file that is there and cannot be believed now: torn, too large, no regular file, wrong in form."""


def signature(path: str) -> Signature:
    """What changes when the file changes: (mtime_ns, size, inode); `GONE` where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return GONE
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def regular_file(path: str) -> Signature | None:
    """The signature of `path` where it is a regular file, and no link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def is_racy(found: Signature, now: float) -> bool:
    """Whether another write could have left the same signature; never where there is no file."""
    return found != GONE and abs(now - found[0] / 1e9) < RACY_SECONDS


class DirFdCache:
    """Folders of the tree that stay open while many files below them are read; through no link, like these."""

    _MOST = 64

    def __init__(self) -> None:
        self._folders: dict[tuple[str, tuple[str, ...]], int] = {}
        self.has_moved = False  # one of them lay elsewhere when it was closed: what was read below it is not there

    def at(self, base: str, parts: tuple[str, ...]) -> int:
        """The descriptor of that folder. Raises: OSError."""
        if (base, parts) not in self._folders:
            if len(self._folders) >= self._MOST:
                self.close()
            self._folders[base, parts] = _open_inside(base, parts)
        return self._folders[base, parts]

    def close(self) -> None:
        while self._folders:
            (base, parts), descriptor = self._folders.popitem()
            found = os.fstat(descriptor)
            os.close(descriptor)
            path = os.path.join(base, *parts)
            self.has_moved = self.has_moved or signature(path)[2] != found.st_ino


def read_beneath(
    base: str,
    parts: Sequence[str],
    *,
    cap: int,
    tail: bool = False,
    opened: DirFdCache | None = None,
    may_be_hard_link: bool = True,
) -> tuple[bytes, int]:
    """At most `cap` bytes of the regular file `parts` below `base`, and its whole size.

    `base` itself is trusted; no link is followed below it. `tail` reads the end instead of the beginning. The folder
    above the file's own is one of those that stay `opened`. A file with several names may be one of somewhere else;
    so are those of a backup that shares files, so they are refused only where the content is sent.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: it is no regular file, lies behind a link, or cannot be read.
    """
    if not parts or any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
        raise UnreadableError("not a name inside the folder")
    try:
        descriptor = _open_inside(base, parts, opened)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(parts[-1]) from None
    except OSError as error:
        raise UnreadableError(_REASONS.get(error.errno or 0) or error.strerror or "cannot be opened") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError("not a regular file")
        if found.st_nlink > 1 and not may_be_hard_link:
            raise UnreadableError("hard link")
        if tail and found.st_size > cap:
            os.lseek(descriptor, found.st_size - cap, os.SEEK_SET)
        content = os.read(descriptor, cap)
        while len(content) < min(cap, found.st_size) and (chunk := os.read(descriptor, cap - len(content))):
            content += chunk
        return content, found.st_size
    except OSError as error:
        raise UnreadableError(error.strerror or "cannot be read") from error
    finally:
        os.close(descriptor)


@contextmanager
def scan_beneath(base: str, parts: Sequence[str]) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of the folder `parts` below `base`, which is opened through no link. Raises: OSError."""
    if not HAS_DIR_FD:  # Windows
        if any(os.path.islink(os.path.join(base, *parts[: end + 1])) for end in range(len(parts))):
            raise OSError(errno.ELOOP, "behind a link")
        with os.scandir(os.path.join(base, *parts)) as entries:
            yield entries
        return
    descriptor = _open_inside(base, parts)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)


def _open_inside(base: str, parts: Sequence[str], opened: DirFdCache | None = None) -> int:
    if not HAS_DIR_FD:  # Windows: no links without special rights, and no way to walk by descriptor
        path = base
        for part in parts:
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise OSError("behind a link")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    *above, name = parts
    kept = None
    if opened is not None and len(above) > 1:
        folder = kept = opened.at(base, tuple(above[:-1]))
        above = above[-1:]
    else:
        folder = os.open(base, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        for part in above:
            below = os.open(part, os.O_RDONLY | _FOLDER_FLAGS, dir_fd=folder)
            if folder != kept:
                os.close(folder)
            folder = below
        return os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder)
    finally:
        if folder != kept:
            os.close(folder)


# The only file names of a job that anybody asks for; a folder may hold fifty thousand others.
_KNOWN_FILES = frozenset({"config.yaml", "run.sh", "approved", "done", ".approved", ".done", "returncode.txt"})


@dataclass(slots=True)
class _Listing:
    found: Signature
    racy: bool
    folders: tuple[str, ...]
    files: frozenset[str]


@dataclass(slots=True)
class Folders:
    """The names in the folders of the tree, listed again only where a folder says that names came or went."""

    _known: dict[str, _Listing] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Start a look; `end` forgets what was not asked for since."""
        self._seen = set()

    def end(self) -> None:
        for path in self._known.keys() - self._seen:
            del self._known[path]

    def folders(self, path: str, now: float) -> tuple[str, ...]:
        """The names of the folders in `path`, sorted, links left out; empty where there is no such folder."""
        listing = self._listing(path, now)
        return listing.folders if listing else ()

    def files(self, path: str, now: float) -> frozenset[str] | None:
        """Which of a job's known files lie in `path`, or None where there is no such folder."""
        listing = self._listing(path, now)
        return listing.files if listing else None

    def _listing(self, path: str, now: float) -> _Listing | None:
        self._seen.add(path)
        try:
            status = os.stat(path)  # followed: the owner's own root or job folder may be a link
        except OSError:
            self._known.pop(path, None)
            return None
        found = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(path)
        if known and known.found == found and not known.racy:
            return known
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(path) as entries:
                for count, entry in enumerate(entries):
                    if count >= MAX_NAMES:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.name in _KNOWN_FILES and entry.is_file(follow_symlinks=False):
                        files.append(entry.name)
        except OSError:
            self._known.pop(path, None)
            return None
        listing = _Listing(found, is_racy(found, now), tuple(sorted(folders)), frozenset(files))
        self._known[path] = listing
        return listing
