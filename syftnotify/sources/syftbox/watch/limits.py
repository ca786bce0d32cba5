"""What should not be watched: too many folders, folders nested too deeply, and remote file systems."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from syftnotify.core.text import escape

# A watched folder costs a watch of the kernel and 0.65 KB of memory.
_MAX_FOLDERS = 100_000
# watchdog walks folders by recursion on Python 3.11, as `os.walk` does there, and its thread dies at a thousand.
_MAX_DEPTH = 400
_MAX_PATH = 120  # characters of a path in an error
_USER_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_MOUNTS = Path("/proc/self/mounts")
_OCTAL_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")  # how the kernel writes a blank in a mount point
# File systems to which other machines or processes write without an event here; also those named `fuse.*`.
_REMOTE = frozenset(
    "9p afs ceph cifs davfs fuse glusterfs lustre nfs nfs4 prl_fs smb3 smbfs vboxsf virtiofs".split()  # noqa: SIM905 - a list of words
)


def default_max_folders() -> int:
    """The maximum number of folders to watch: at most half of the user's watches, as other programs need some."""
    try:
        user_limit = int(_USER_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not Linux
        user_limit = sys.maxsize
    return min(_MAX_FOLDERS, user_limit // 2)


def count_folders(folder: Path, limit: int) -> int:
    """The number of folders in `folder`, itself included; counting stops above `limit`.

    Raises:
        RuntimeError: they are nested more deeply than can be watched.
    """
    count, pending = 1, [(str(folder), 0)]
    while pending and count <= limit:
        path, depth = pending.pop()
        if depth > _MAX_DEPTH:
            nested = escape(os.path.relpath(path, folder)[:_MAX_PATH])
            raise RuntimeError(f"folders are nested more than {_MAX_DEPTH} deep: {folder}/{nested}…")
        try:
            with os.scandir(path) as entries:
                below = [(entry.path, depth + 1) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # removed meanwhile, or not readable
            continue
        count += len(below)
        pending += below
    return count


def remote_file_system(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """The type of the file system of `folder` if other machines may write to it, else an empty text."""
    try:
        lines = mounts.read_bytes().split(b"\n")
    except OSError:
        return ""
    resolved = os.path.realpath(folder)
    kind, deepest = "", ""
    for mount, name in (line.split(b" ")[1:3] for line in lines if line.count(b" ") > 1):
        mount_point = os.fsdecode(_OCTAL_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), mount))
        if len(mount_point) >= len(deepest) and f"{resolved}/".startswith(f"{mount_point.rstrip('/')}/"):
            kind, deepest = name.decode("ascii", "replace"), mount_point
    return kind if kind in _REMOTE or kind.startswith("fuse.") else ""
