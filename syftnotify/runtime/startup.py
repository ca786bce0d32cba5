"""The worker of a home in this process: lock, configuration, signals, first scan, loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syftnotify.runtime.worker import Worker
from syftnotify.services.settings import check_ready
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.failpoints import reached
from syftnotify.system.paths import Home


def run_worker(
    home: Home, *, on_started: Callable[[list[str]], None] = lambda _warnings: None, detached: bool = False
) -> None:
    """Run the worker of `home` until a signal stops it.

    `on_started` is called with warnings after the first scan. The loss of the terminal (SIGHUP) stops a worker in the
    foreground, but not a `detached` one.

    Raises:
        AlreadyRunningError, ConfigError, NotSignedInError, StateError: it cannot start.
        AlreadyRunningError, LockLostError: the lock file was replaced or removed while it ran.
    """
    with worker_lock.acquire(home) as lock:
        reached("worker.locked")
        settings = check_ready(home)
        with _failed_start_recorded(home):
            worker = Worker(settings, lock)
        with _stopped_by_signals(worker, detached=detached):
            with _failed_start_recorded(home):
                warnings = worker.start()
            on_started(warnings)
            worker.run()


@contextmanager
def _stopped_by_signals(worker: Worker, *, detached: bool) -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP stop `worker`; a detached one ignores SIGHUP."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, lambda *_: worker.stop()) for number in numbers}
    if detached and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _failed_start_recorded(home: Home) -> Iterator[None]:
    """Record in `worker.json` that the worker did not start; without that, it counts as killed."""
    try:
        yield
    except Exception:  # raised again
        status = worker_status.read(home)
        status.ended = "did not start"
        if status.pid == os.getpid():
            with contextlib.suppress(OSError):
                worker_status.write(home, status)
        raise
