"""Atomic writes, bounded reads, private folders, and quarantine of damaged files."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from syftnotify.core.errors import StateError
from syftnotify.system.failpoints import reached
from syftnotify.system.permissions import owner_suffix

_NAME_MAX = 255  # bytes of a file name, where the system does not report its limit


def atomic_write(path: Path, content: bytes | Iterable[bytes], *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` by `content`, given as one piece or several: after a crash the file is the old or the new one.

    `durable=False` skips the syncs, for a file that may be lost but never partly written.

    Raises:
        OSError: it could not be written, and the old file is unchanged; or the folder could not be synced.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        reached("file.written")
        Path(name).replace(path)
    except BaseException:  # Ctrl-C included: the temporary file is removed
        Path(name).unlink(missing_ok=True)
        raise
    reached("file.renamed")
    if durable:
        fsync_folder(path.parent)


def read_regular_file(path: Path, limit: int | None = None) -> bytes:
    """The content of a regular file of at most `limit` bytes. Pipes and devices are refused: reading them may block.

    Raises:
        OSError: it is missing, not a regular file, larger, or cannot be read.
    """
    with open(path, "rb", opener=_open_without_blocking) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return content


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def create_private_folder(path: Path) -> None:
    """Create `path` and its missing parents, each with mode 0700 whatever the umask.

    `Path.mkdir(mode, parents=True)` applies the mode to the last folder only.

    Raises:
        OSError: one of them cannot be created, or `path` is not a folder.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def fsync_folder(folder: Path) -> None:
    """Flush the file names in `folder` to disk, where the system supports it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint(content: bytes) -> str:
    """SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def quarantine(path: Path) -> Path:
    """Rename a damaged file, so that it is kept but not read again, and return its new path.

    The new name is `<name>.damaged-<UTC time>`; `<name>` is cut where the file system allows no longer name.

    Raises:
        StateError: it cannot be renamed.
    """
    target = _quarantine_path(path)
    try:
        path.replace(target)
        fsync_folder(path.parent)
    except OSError as error:
        raise StateError(
            f"{path} is damaged and cannot be renamed: {error.strerror}{owner_suffix(path)}",
            hint="make sure that its folder belongs to you and is writable",
        ) from error
    return target


def _quarantine_path(path: Path) -> Path:
    stamp = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for number in itertools.count(1):
        suffix = stamp if number == 1 else f"{stamp}-{number}"
        target = path.with_name(_truncated(path.name, _max_name_bytes(path.parent) - len(suffix)) + suffix)
        if not os.path.lexists(target):
            break
    return target


def _truncated(name: str, limit: int) -> str:
    """The beginning of `name` in at most `limit` bytes, without a partial character at its end."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= limit else encoded[:limit].decode(sys.getfilesystemencoding(), "ignore")


def _max_name_bytes(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has no pathconf
        return _NAME_MAX
