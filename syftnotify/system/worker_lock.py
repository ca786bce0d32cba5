"""The lock of a home: at most one worker runs."""

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

# Somebody who only asks whether the lock is held holds it for an instant; a worker that starts waits that out.
_ACQUIRE_SECONDS = 1.0
_PID_SECONDS = 2.0  # until a holder of the lock has written who it is


def current_status(home: Home) -> tuple[WorkerStatus, int | None, Phase]:
    """The report with the pid of the running worker, and what that worker is doing or how the last one ended.

    A worker that holds the lock and has not reported yet has an empty report, not that of the one before.
    """
    report = read(home)
    if not is_held(home):
        is_killed = report.pid is not None and not report.ended
        return report, None, Phase.KILLED if is_killed else Phase.STOPPED
    pid = holder_pid(home) or report.pid
    report = read(home)
    if report.pid != pid:
        return WorkerStatus(home=str(home.root), phase=Phase.STARTING), pid, Phase.STARTING
    return report, pid, Phase(report.phase)


@dataclass(frozen=True, slots=True)
class WorkerLock:
    """The lock of a home as its holder has it: which file it was when it was acquired."""

    home: Home
    device: int
    inode: int

    def check(self) -> None:
        """See that the lock file is still the one that is held, or another worker could hold the new one.

        Raises:
            AlreadyRunningError: another worker holds the file that is there now.
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
    """Be the one worker of `home` while the block runs.

    Raises:
        AlreadyRunningError: somebody else is.
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
            if not is_locked(home.lock):  # another file was put in its place just now
                raise LockLostError(home.lock)
        except OSError as error:
            raise home_error(home, error) from error
        yield WorkerLock(home, found.st_dev, found.st_ino)


def home_error(home: Home, error: OSError) -> NotifyError:
    """The home is a file, somebody else's, read-only, or full."""
    where = error.filename if isinstance(error.filename, str) else home.root
    return NotifyError(
        f"{where} cannot be used: {error.strerror}{owner_suffix(where)}",
        hint="see that it is yours, writable and not full, or choose another `--home`",
    )


def is_held(home: Home) -> bool:
    """Whether a worker is running in `home`."""
    return is_locked(home.lock) or _pid_without_lock(home) is not None


def holder_pid(home: Home) -> int | None:
    """The pid of the running worker, as far as it is known; None when none is running.

    It is written a moment after the lock was acquired; the call waits for it.
    """
    until = time.monotonic() + _PID_SECONDS
    while is_locked(home.lock):
        pid = _pid_in_lock_file(home)
        if pid is not None and is_alive(pid):
            return pid
        if time.monotonic() > until:  # the file was emptied, or another program wrote into it
            return reported_pid(home) or pid
        time.sleep(0.01)  # polled: a lock file cannot be waited for
    return _pid_without_lock(home)


def is_lock_lost(home: Home) -> bool:
    """Whether a worker runs in `home` whose lock file was removed or replaced."""
    return not is_locked(home.lock) and _pid_without_lock(home) is not None


def _pid_without_lock(home: Home) -> int | None:
    """The pid of a worker of `home` whose lock file was removed or replaced, until its next scan stops it."""
    pid = reported_pid(home)
    return None if pid == os.getpid() else pid


def _pid_in_lock_file(home: Home) -> int | None:
    try:
        return int(home.lock.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
