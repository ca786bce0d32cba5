"""Lock files that exclude other processes, based on the locks of the operating system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syftnotify.core.errors import NoLocksError

_POLL_SECONDS = 0.02
# Errors of a file system that has no locks, or no more locks.
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


@contextmanager
def file_lock(path: Path, *, seconds: float) -> Iterator[bool]:
    """Hold the lock file `path` while the block runs; yields whether it was acquired within `seconds`.

    The operating system releases the lock when the process ends, in whatever way it ends.

    Raises:
        NoLocksError: the file system has no locks, or grants them to everybody.
        OSError: the lock file cannot be opened.
    """
    from filelock import FileLock, Timeout  # 40 ms of import that `notify --help` does not need

    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire(timeout=seconds, poll_interval=_POLL_SECONDS)
    except Timeout:
        yield False
        return
    except NotImplementedError as error:  # filelock's error on a system without locks
        raise NoLocksError(path.parent, "not implemented") from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise NoLocksError(path.parent, error.strerror or "") from error
        raise
    try:
        if not _is_effective(path):
            raise NoLocksError(path.parent, "a lock excludes no other process")
        yield True
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock file `path`.

    Checked with a shared lock: two simultaneous checks do not see each other, and `file_lock` waits until they end.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no shared locks
        with file_lock(path, seconds=0) as is_acquired:
            return not is_acquired
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        # Some systems return EACCES. Any other error is that of a file system without locks.
        return error.errno in {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}
    else:
        return False
    finally:
        os.close(descriptor)


def supports_locks(folder: Path) -> bool:
    """Whether locks work in `folder`; tried with a temporary lock file."""
    path = folder / f".lockable-{os.getpid()}"
    try:
        with file_lock(path, seconds=0) as is_acquired:
            return is_acquired
    except (OSError, NoLocksError):
        return False
    finally:
        path.unlink(missing_ok=True)


def _is_effective(path: Path) -> bool:
    """Whether the lock that this process holds excludes another descriptor, and so another process."""
    try:
        import fcntl  # noqa: F401 - only whether it exists
    except ImportError:  # Windows: its locks are mandatory
        return True
    return is_locked(path) or not path.exists()
