"""The worker of a home in this process: lock, configuration, signals, first scan, loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from syftnotify.config.load import Settings
from syftnotify.core.cluster import WorkerMode
from syftnotify.runtime.delivery_worker import DeliveryWorker, require_database
from syftnotify.runtime.opening import require_copied
from syftnotify.runtime.status_reporter import Served
from syftnotify.runtime.worker import Worker
from syftnotify.services.settings import check_ready
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.failpoints import reached
from syftnotify.system.paths import Home


def run_worker(
    home: Home,
    *,
    serve: Callable[[Settings, Callable[[], None]], AbstractContextManager[Served]],
    on_started: Callable[[list[str]], None] = lambda _warnings: None,
    detached: bool = False,
    mode: WorkerMode = WorkerMode.FULL,
) -> None:
    """Run the worker of `home` until a signal stops it; with `serve.enabled`, in a context of `serve`.

    `serve` gets a function to call when what it yields has changed. `on_started` is called with warnings after the
    first scan. The loss of the terminal (SIGHUP) stops a worker in the foreground, but not a `detached` one. `mode` is
    FULL or SCAN.

    Raises:
        AlreadyRunningError, ConfigError, NotSignedInError, StateError: it cannot start.
        AlreadyRunningError, LockLostError: the lock file was replaced or removed while it ran.
    """
    with worker_lock.acquire(home) as lock:
        reached("worker.locked")
        settings = check_ready(home)
        with _stop_signals(detached=detached) as stop, contextlib.ExitStack() as end:
            with _failed_start_recorded(home):
                if mode is not WorkerMode.FULL:
                    require_database(settings, mode)
                require_copied(settings)
                worker = Worker(settings, lock, mode=mode)
                stop.connect(worker)
                if settings.config.serve is not None and settings.config.serve.enabled:
                    # The outbox is open now, and repaired if necessary.
                    worker.served = end.enter_context(serve(settings, worker.request_update))
                warnings = worker.start()
            on_started(warnings)
            worker.run()


def run_deliveries(home: Home, *, on_started: Callable[[list[str]], None]) -> None:
    """Deliver for all homes of the database of `home`, until a signal stops it.

    `on_started` is called with warnings when the worker has joined the others.

    Raises:
        ConfigError, NotSignedInError, StateError: it cannot start.
    """
    settings = check_ready(home)
    require_copied(settings)
    worker = DeliveryWorker(settings)
    with _stop_signals(detached=False) as stop:
        stop.connect(worker)
        worker.run(on_started)


class _Stoppable(Protocol):
    def stop(self) -> None: ...


class _StopRequest:
    """Passes a signal on to the worker; one that arrives before the worker exists stops it as soon as it does.

    Opening and checking a large outbox takes long. A worker ended meanwhile would count as killed.
    """

    def __init__(self) -> None:
        self._worker: _Stoppable | None = None
        self._is_requested = False

    def request(self) -> None:
        """Stop the worker. Safe to call from a signal handler."""
        self._is_requested = True
        if self._worker is not None:
            self._worker.stop()

    def connect(self, worker: _Stoppable) -> None:
        """Stop `worker` at a signal."""
        self._worker = worker
        if self._is_requested:
            worker.stop()


@contextmanager
def _stop_signals(*, detached: bool) -> Iterator[_StopRequest]:
    """SIGTERM, SIGINT and SIGHUP make the yielded request; a detached worker ignores SIGHUP."""
    stop = _StopRequest()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, lambda *_: stop.request()) for number in numbers}
    if detached and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield stop
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
