"""Signatures of files: cheap evidence that a file has not changed since it was read."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

# A file written within the resolution of its timestamp can change again and keep its signature.
RACY_SECONDS = 2.0


class Signature(NamedTuple):
    """What a file or folder was like when it was read."""

    mtime_ns: int
    size: int
    inode: int

    @property
    def mtime(self) -> float:
        """The time of the last change, in seconds since 1970."""
        return self.mtime_ns / 1e9


MISSING = Signature(0, 0, 0)


def signature_of(status: os.stat_result) -> Signature:
    """The signature in the result of a `stat`."""
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino)


def signature(path: str) -> Signature:
    """The signature of the file or folder at `path`, no link followed; `MISSING` if there is none."""
    try:
        return signature_of(os.lstat(path))
    except OSError:
        return MISSING


def regular_file_signature(path: str) -> Signature | None:
    """The signature of the regular file at `path`; None if there is none, or if it is a link."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return signature_of(status) if stat.S_ISREG(status.st_mode) else None


def is_racy(found: Signature, now: float) -> bool:
    """Whether another write could have left the same signature. False for a missing file.

    `now` is in seconds since 1970.
    """
    return found != MISSING and abs(now - found.mtime) < RACY_SECONDS
