"""How does a file of ours come to be? Whole or not at all, for its owner alone, one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syftnotify.failpoints import reached


def write_whole(path: Path, content: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` by `content` so that a reader, or a power cut, finds the old file or the new one.

    `durable=False` leaves out the syncs, for a file that may be lost but never torn.

    Raises:
        OSError: it could not be written; the old file is untouched.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        reached("file.written")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    reached("file.renamed")
    if durable:
        sync_folder(path.parent)


def fingerprint(content: bytes) -> str:
    """A name for `content` that changes when it does."""
    return hashlib.sha256(content).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` last through a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock file `path`.

    Asked with a shared lock, so that two who only ask never see each other, for an instant that `exclusive` waits out.
    """
    try:
        import fcntl
    except ImportError:  # Windows: ask as a holder would
        with exclusive(path, seconds=0) as held:
            return not held
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        # Some systems say EACCES; anything else is a file system that knows no locks.
        return error.errno in {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}
    else:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path, *, seconds: float) -> Iterator[bool]:
    """Hold the lock file `path` while the block runs; yields whether it could be had within `seconds`.

    The lock is the operating system's, so it ends with the process that holds it, however that ends.
    """
    from filelock import FileLock, Timeout  # 40 ms of import that `notify --help` need not pay

    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
