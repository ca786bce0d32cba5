"""Fingerprints: signatures of files as single numbers, and how those of many files are compared."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence

from syftnotify.sources.syftbox.files.dir_fds import HAS_DIR_FD
from syftnotify.sources.syftbox.files.signatures import MISSING, Signature, signature

# Instead of a fingerprint: there is no file, or it must be read in any case (`hash` never returns -1).
ABSENT, UNREAD = 0, -1


def fingerprint(found: Signature) -> int:
    """The fingerprint of a signature; `ABSENT` for `MISSING`."""
    return hash(found) if found != MISSING else ABSENT


def differing(names: Sequence[str], before: array[int], found: array[int]) -> list[str]:
    """The names whose fingerprints differ; all arguments have the same order."""
    if before == found:  # the usual case, and about a thousand times faster than the loop
        return []
    return [name for name, old, new in zip(names, before, found, strict=True) if old != new]


def stat_all(folder: str, names: Sequence[str], suffix: str) -> array[int]:
    """The fingerprints of the files `name + suffix` in `folder`, in the order of `names`."""
    if not names:  # opening the folder costs as much as checking dozens of files
        return array("q")
    if not HAS_DIR_FD:
        return array("q", (fingerprint(signature(os.path.join(folder, name) + suffix)) for name in names))
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return array("q", [ABSENT]) * len(names)
    stat, fingerprints = os.stat, []
    try:
        # Short relative paths save a quarter of the scan's time: the kernel resolves fewer components.
        for name in names:
            try:
                found = stat(name + suffix, dir_fd=descriptor, follow_symlinks=False)
                fingerprints.append(hash((found.st_mtime_ns, found.st_size, found.st_ino)))
            except OSError:
                fingerprints.append(ABSENT)
    finally:
        os.close(descriptor)
    return array("q", fingerprints)
