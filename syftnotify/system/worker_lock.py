"""The worker lock of a home: at most one worker runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from syftnotify.core.errors import AlreadyRunningError, LockLostError, NotifyError
from syftnotify.system.locks import file_lock, is_locked
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home
from syftnotify.system.permissions import owner_suffix
from syftnotify.system.procinfo import is_alive
from syftnotify.system.worker_status import Phase, WorkerStatus, read, reported_pid

# A check whether the lock is held takes it for an instant; a starting worker waits until such a check ends.
_ACQUIRE_SECONDS = 1.0
_PID_SECONDS = 2.0  # until the new holder of the lock has written its pid
_POLL_SECONDS = 0.01  # no event reports a change of a lock file


@dataclass(frozen=True, slots=True)
class WorkerLock:
    """An acquired lock. Device and inode identify the lock file that is held."""

    home: Home
    device: int
    inode: int

    def check(self) -> None:
        """Check that the lock file is still the one that is held; otherwise another worker could hold the new file.

        Raises:
            AlreadyRunningError: another worker holds the new file.
            LockLostError: the file was removed or replaced.
        """
        try:
            found = self.home.lock.stat()
        except FileNotFoundError:
            raise LockLostError(self.home.lock) from None
        if (found.st_dev, found.st_ino) != (self.device, self.inode):
            if is_locked(self.home.lock):
                raise AlreadyRunningError(_pid_in_lock_file(self.home))
            raise LockLostError(self.home.lock)


@contextmanager
def acquire(home: Home, *, seconds: float = _ACQUIRE_SECONDS) -> Iterator[WorkerLock]:
    """Hold the worker lock of `home` while the block runs; the home is created if it is missing.

    Raises:
        AlreadyRunningError: another worker runs in it.
        NoLocksError: the file system has no working locks.
        NotifyError: the home cannot be written, or others can change it.
    """
    with ExitStack() as stack:
        try:
            check_home(home)
            home.create()
            if not stack.enter_context(file_lock(home.lock, seconds=seconds)):
                raise AlreadyRunningError(holder_pid(home))
            if (pid := _pid_without_lock(home)) is not None:
                raise AlreadyRunningError(pid)
            home.lock.write_text(f"{os.getpid()}\n", encoding="ascii")
            found = home.lock.stat()
            if not is_locked(home.lock):  # the file was replaced in the meantime
                raise LockLostError(home.lock)
        except OSError as error:
            raise home_error(home, error) from error
        yield WorkerLock(home, found.st_dev, found.st_ino)


def home_error(home: Home, error: OSError) -> NotifyError:
    """The error for a home that is a file, read-only, full, or belongs to another user."""
    path = error.filename if isinstance(error.filename, str) else home.root
    return NotifyError(
        f"{path} cannot be used: {error.strerror}{owner_suffix(path)}",
        hint="make sure that it belongs to you, is writable and not full, or choose another `--home`",
    )


def is_held(home: Home) -> bool:
    """Whether a worker is running in `home`."""
    return is_locked(home.lock) or _pid_without_lock(home) is not None


def holder_pid(home: Home) -> int | None:
    """The pid of the running worker, if it is known; None if none is running.

    A worker writes its pid a moment after it acquired the lock; the call waits for it.
    """
    deadline = time.monotonic() + _PID_SECONDS
    while is_locked(home.lock):
        pid = _pid_in_lock_file(home)
        if pid is not None and is_alive(pid):
            return pid
        if time.monotonic() > deadline:  # the file was emptied, or another program wrote into it
            return reported_pid(home) or pid
        time.sleep(_POLL_SECONDS)  # polling interval
    return _pid_without_lock(home)


def is_lock_lost(home: Home) -> bool:
    """Whether a worker runs in `home` whose lock file was removed or replaced."""
    return not is_locked(home.lock) and _pid_without_lock(home) is not None


def current_status(home: Home) -> tuple[WorkerStatus, int | None, Phase]:
    """The stored status, the pid of the running worker, and its phase, or how the last worker ended.

    For a worker that has not written its status yet the status is empty, not that of the worker before.
    """
    status = read(home)
    if not is_held(home):
        is_killed = status.pid is not None and not status.ended
        return status, None, Phase.KILLED if is_killed else Phase.STOPPED
    pid = holder_pid(home) or status.pid
    status = read(home)
    if status.pid != pid:
        return WorkerStatus(home=str(home.root), phase=Phase.STARTING), pid, Phase.STARTING
    return status, pid, Phase(status.phase)


def _pid_without_lock(home: Home) -> int | None:
    """The pid of a worker of `home` whose lock file was removed or replaced; its next scan stops it."""
    pid = reported_pid(home)
    return None if pid == os.getpid() else pid


def _pid_in_lock_file(home: Home) -> int | None:
    try:
        return int(home.lock.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
