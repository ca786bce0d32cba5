"""Read files of the tree, which is not trusted: bounded, regular files only, through no link, without blocking."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from syftnotify.sources.syftbox.files.dir_fds import HAS_DIR_FD, DirFdCache, open_beneath, path_without_links

# Reasons for errors whose text from the system would be misleading.
_REASONS = {errno.ELOOP: "a symbolic link", errno.ENXIO: "not a regular file"}


class UnreadableError(Exception):
    """A file exists and has no usable content: incomplete, too large, not a regular file, or malformed."""


def read_beneath(
    base: str,
    parts: Sequence[str],
    *,
    cap: int,
    tail: bool = False,
    dir_fds: DirFdCache | None = None,
    allow_hard_links: bool = True,
) -> tuple[bytes, int]:
    """At most `cap` bytes of the regular file `parts` below `base`, and its whole size.

    `base` is trusted; no link is followed below it. `tail` reads the end instead of the beginning. With `dir_fds`, the
    folder two levels above stays open in that cache. A file with several hard links may belong to another place, but so
    do the files of a deduplicating backup: callers that show the content refuse them.

    Raises:
        FileNotFoundError: the file does not exist.
        UnreadableError: it is not a regular file, is behind a link, or cannot be read.
    """
    if not parts or any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
        raise UnreadableError("not a name inside the folder")
    try:
        descriptor = open_beneath(base, parts, dir_fds)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(parts[-1]) from None
    except OSError as error:
        raise UnreadableError(_REASONS.get(error.errno or 0) or error.strerror or "cannot be opened") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not a regular file")
        if status.st_nlink > 1 and not allow_hard_links:
            raise UnreadableError("hard link")
        if tail and status.st_size > cap:
            os.lseek(descriptor, status.st_size - cap, os.SEEK_SET)
        content = os.read(descriptor, cap)
        while len(content) < min(cap, status.st_size) and (chunk := os.read(descriptor, cap - len(content))):
            content += chunk
        return content, status.st_size
    except OSError as error:
        raise UnreadableError(error.strerror or "cannot be read") from error
    finally:
        os.close(descriptor)


@contextmanager
def scan_beneath(base: str, parts: Sequence[str]) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of the folder `parts` below the trusted folder `base`. Raises: OSError, also behind a link."""
    if not HAS_DIR_FD:
        with os.scandir(path_without_links(base, parts)) as entries:
            yield entries
        return
    descriptor = open_beneath(base, parts)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)
