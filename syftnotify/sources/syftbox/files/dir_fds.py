"""Open files by walking directory descriptors, so that no link below a trusted folder is followed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

# False on Windows, where creating a link needs special rights: each folder is checked for a link there instead.
HAS_DIR_FD = os.open in os.supports_dir_fd

_MAX_OPEN = 256  # descriptors that a cache holds; a scan reads the jobs of all submitters in turn
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
# O_NONBLOCK: opening a FIFO must not wait for its writer.
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _CLOEXEC
_FOLDER_FLAGS = _FILE_FLAGS | _DIRECTORY


class DirFdCache:
    """Folders that stay open while many files below them are read; opened like files, through no link."""

    def __init__(self) -> None:
        self._descriptors: dict[tuple[str, tuple[str, ...]], int] = {}
        # True once a folder turned out, when it was closed, to be no longer at its path: what was read may be outdated.
        self.has_moved = False

    def get(self, base: str, parts: tuple[str, ...]) -> int:
        """The descriptor of the folder `parts` below `base`. Raises: OSError."""
        if (base, parts) not in self._descriptors:
            if len(self._descriptors) >= _max_open():
                self.close()
            self._descriptors[base, parts] = open_beneath(base, parts)
        return self._descriptors[base, parts]

    def close(self) -> None:
        """Close all folders and update `has_moved`."""
        while self._descriptors:
            (base, parts), descriptor = self._descriptors.popitem()
            self.has_moved = self.has_moved or not _is_at(os.path.join(base, *parts), descriptor)
            with contextlib.suppress(OSError):  # nothing was written; the others must be closed, too
                os.close(descriptor)


def open_beneath(base: str, parts: Sequence[str], dir_fds: DirFdCache | None = None) -> int:
    """A descriptor of the file or folder `parts` below the trusted folder `base`; the caller closes it.

    With `dir_fds`, the folder two levels above is taken from that cache.

    Raises:
        OSError: it cannot be opened, or one of `parts` is a link.
    """
    if not HAS_DIR_FD:
        return os.open(path_without_links(base, parts), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    *above, name = parts
    cached = None
    if dir_fds is not None and len(above) > 1:
        folder = cached = dir_fds.get(base, tuple(above[:-1]))
        above = above[-1:]
    else:
        folder = os.open(base, os.O_RDONLY | _DIRECTORY | _CLOEXEC)
    try:
        for part in above:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            if folder != cached:
                os.close(folder)
            folder = below
        return os.open(name, _FILE_FLAGS, dir_fd=folder)
    finally:
        if folder != cached:
            os.close(folder)


def _max_open() -> int:
    """At most a quarter of the descriptors that the process may open, which is 256 of them on macOS."""
    import resource  # exists where HAS_DIR_FD is true

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_OPEN if limit == resource.RLIM_INFINITY else max(1, min(_MAX_OPEN, limit // 4))


def path_without_links(base: str, parts: Sequence[str]) -> str:
    """The path of `parts` below `base`. Raises: OSError (ELOOP) if one of `parts` is a link."""
    path = base
    for part in parts:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise OSError(errno.ELOOP, "behind a link", path)
    return path


def _is_at(path: str, descriptor: int) -> bool:
    """Whether the open folder is the one at `path`."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False
