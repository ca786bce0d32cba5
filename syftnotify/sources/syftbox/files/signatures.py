"""Signatures of files: cheap evidence that a file has not changed since it was read."""

from __future__ import annotations

import os
import stat

# A file written within the resolution of its timestamp can change again and keep its signature.
RACY_SECONDS = 2.0

Signature = tuple[int, int, int]  # (mtime_ns, size, inode)
MISSING: Signature = (0, 0, 0)


def signature(path: str) -> Signature:
    """The signature of the file or folder at `path`, no link followed; `MISSING` if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return MISSING
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def regular_file_signature(path: str) -> Signature | None:
    """The signature of the regular file at `path`; None if there is none, or if it is a link."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def is_racy(found: Signature, now: float) -> bool:
    """Whether another write could have left the same signature. False for a missing file.

    `now` is in seconds since 1970.
    """
    return found != MISSING and abs(now - found[0] / 1e9) < RACY_SECONDS
