"""How does a file of ours come to be? Whole or not at all, for its owner alone, one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from syftnotify.core.errors import NoLocksError, StateError
from syftnotify.system.failpoints import reached

_NAME_MAX = 255  # bytes of a file name, where the system does not tell its own limit
# What the system reports where a file system has no locks, or has run out of them.
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


def atomic_write(path: Path, content: bytes | Iterable[bytes], *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` by `content`, whole or in pieces, so that a reader, or a power cut, finds the old file or the new.

    `durable=False` leaves out the syncs, for a file that may be lost but never torn.

    Raises:
        OSError: it could not be written; the old file is untouched.
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
    except BaseException:  # Ctrl-C too must leave no half of a file behind; it goes on its way
        Path(name).unlink(missing_ok=True)
        raise
    reached("file.renamed")
    if durable:
        fsync_folder(path.parent)


def read_regular_file(path: Path, limit: int | None = None) -> bytes:
    """The content of a regular file of at most `limit` bytes; a pipe or a device, which may never end, is not read.

    Raises:
        OSError: it is missing, something else, larger, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return content


def create_private_folder(path: Path) -> None:
    """Create `path` and its missing parents, each with mode 0700 whatever the umask.

    `Path.mkdir(mode, parents=True)` gives the mode to the last folder only.

    Raises:
        OSError: one of them cannot be created, or `path` is no folder.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def quarantine(path: Path) -> Path:
    """Rename a damaged file so that nothing reads it again, and return the new path.

    The new name fits into one name of the file system: the end of a very long one is left out.

    Raises:
        StateError: it cannot be renamed.
    """
    aside = _free_name(path)
    try:
        path.replace(aside)
        fsync_folder(path.parent)
    except OSError as error:
        raise StateError(
            f"{path} is damaged and cannot be put aside: {error.strerror}{owner_suffix(path)}",
            hint="see that its folder is yours and writable",
        ) from error
    return aside


def _free_name(path: Path) -> Path:
    stamp = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for number in itertools.count(1):
        end = stamp if number == 1 else f"{stamp}-{number}"
        aside = path.with_name(_cut(path.name, _longest_name(path.parent) - len(end)) + end)
        if not os.path.lexists(aside):
            break
    return aside


def _cut(name: str, most: int) -> str:
    """`name` without its end where it has more than `most` bytes; no character is cut in two."""
    spelled = os.fsencode(name)
    return name if len(spelled) <= most else spelled[:most].decode(sys.getfilesystemencoding(), "ignore")


def _longest_name(folder: Path) -> int:
    """Bytes that a name in `folder` may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has no such call
        return _NAME_MAX


def fingerprint(content: bytes) -> str:
    """A name for `content` that changes when it does."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a file is."""

    name: str
    is_current_user: bool


def owner_of(path: str | Path) -> Owner | None:
    """Whose `path` is; None where there is nothing, or the system knows no owners."""
    if not hasattr(os, "geteuid"):
        return None
    try:
        number = Path(path).stat().st_uid
    except OSError:
        return None
    import pwd

    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    return Owner(name, number == os.geteuid())


def owner_suffix(path: str | Path) -> str:
    """` (it belongs to root)`, for an error about a file of somebody else; else nothing."""
    owner = owner_of(path)
    return "" if owner is None or owner.is_current_user else f" (it belongs to {owner.name})"


def permission_warning(path: Path) -> str:
    """What to do about a file with secrets that others can read or write, or nothing when they cannot."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    # A folder may be looked into; what is in it has modes of its own.
    if not hasattr(os, "geteuid") or not mode & (0o022 if path.is_dir() else 0o077):
        return ""
    return f"{path} is open to others (mode {mode:04o}): run `chmod {'700' if path.is_dir() else '600'} {path}`"


def fsync_folder(folder: Path) -> None:
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
        with file_lock(path, seconds=0) as held:
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


def supports_locks(folder: Path) -> bool:
    """Whether locks work in `folder`. Leaves nothing behind."""
    path = folder / f".lockable-{os.getpid()}"
    try:
        with file_lock(path, seconds=0) as held:
            return held
    except (OSError, NoLocksError):
        return False
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def file_lock(path: Path, *, seconds: float) -> Iterator[bool]:
    """Hold the lock file `path` while the block runs; yields whether it was acquired within `seconds`.

    The lock is the operating system's, so it ends with the process that holds it, however that ends.

    Raises:
        NoLocksError: the file system has no locks, or grants them to everybody.
        OSError: the lock file cannot be opened.
    """
    from filelock import FileLock, Timeout  # 40 ms of import that `notify --help` need not pay

    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        yield False
        return
    except NotImplementedError as error:
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


def _is_effective(path: Path) -> bool:
    """Whether the lock that this process holds is seen from another descriptor, and so by another process."""
    try:
        import fcntl  # noqa: F401 - only whether it exists
    except ImportError:  # Windows: its locks are mandatory
        return True
    return is_locked(path) or not path.exists()
