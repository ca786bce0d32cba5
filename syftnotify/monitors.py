"""`JobMonitor` and `PeerMonitor`: scans and deliveries in the calling process, for Python callers."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from syftnotify.core.errors import NotifyError
from syftnotify.runtime.container import build_app
from syftnotify.services.settings import check_ready
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home

log = logging.getLogger(__name__)

# Seconds a check waits for the worker lock: another monitor releases it after its check, a worker keeps it.
_LOCK_TIMEOUT = 10.0


class _Monitor:
    """Checks of one home, each a scan with its deliveries; the subclasses select what is scanned.

    Args:
        home: the home folder; by default `$SYFTNOTIFY_HOME`, otherwise `~/.syft-creds`.
    """

    _jobs = False
    _peers = False

    def __init__(self, home: str | Path | None = None) -> None:
        self._home = Home.at(home)
        self._stop = threading.Event()

    def check(self, interval: float | None = None, duration: float | None = None) -> None:
        """Scan once and deliver what is due; with `interval`, repeat every `interval` seconds.

        Repetition ends after `duration` seconds, or with None when `stop` is called.

        Raises:
            AlreadyRunningError: a worker is running for this home.
            ConfigError, NotSignedInError, StateError: as for the worker.
            OSError: a file of the home cannot be written.
        """
        until = None if duration is None else time.monotonic() + duration
        while True:
            self._check_once()
            if interval is None or self._stop.is_set():
                return
            wait = interval if until is None else min(interval, until - time.monotonic())
            if wait <= 0 or self._stop.wait(wait) or (until is not None and time.monotonic() >= until):
                return

    def start(self, interval: float = 10) -> threading.Thread:
        """Check every `interval` seconds in a new thread until `stop` is called. Errors are logged."""
        self._stop.clear()
        thread = threading.Thread(target=self._keep_checking, args=(interval,), name=type(self).__name__, daemon=True)
        thread.start()
        return thread

    def _keep_checking(self, interval: float) -> None:
        while not self._stop.is_set():
            try:
                self._check_once()
            except Exception as error:  # may be temporary; without this thread nothing is notified
                log.error("check failed: %s", error, exc_info=not isinstance(error, (NotifyError, OSError)))
            self._stop.wait(interval)

    def stop(self) -> None:
        """Stop after the current check."""
        self._stop.set()

    def _check_once(self) -> None:
        with worker_lock.acquire(self._home, seconds=_LOCK_TIMEOUT):
            settings = check_ready(self._home)
            status = worker_status.read(self._home)
            app = build_app(settings, with_jobs=self._jobs, with_peers=self._peers)
            try:
                now = time.time()
                report = app.run_once(status.last_look_s)
                if settings.config.notify.enabled and not report.waiting_for:
                    status.last_look_s = now
                    worker_status.write(self._home, status)
            finally:
                app.close()


class JobMonitor(_Monitor):
    """Notifies about jobs."""

    _jobs = True


class PeerMonitor(_Monitor):
    """Notifies about peer requests and grants."""

    _peers = True
