"""The same look, called from Python: one tick for each check, in this process."""

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

# Two monitors of one home take turns; a worker keeps its turn for ever.
_TURN_SECONDS = 10.0


class _Monitor:
    _jobs = False
    _peers = False

    def __init__(self, home: str | Path | None = None) -> None:
        self._home = Home.at(home)
        self._stop = threading.Event()

    def check(self, interval: float | None = None, duration: float | None = None) -> None:
        """Look once and deliver what is due; or every `interval` seconds for `duration` seconds (None: until `stop`).

        Raises:
            AlreadyRunningError: a worker looks after this home already.
            ConfigError, NotSignedInError, StateError: as the worker would say.
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
        """Check every `interval` seconds in a thread of its own, until `stop`."""
        self._stop.clear()
        thread = threading.Thread(target=self._keep_checking, args=(interval,), name=type(self).__name__, daemon=True)
        thread.start()
        return thread

    def _keep_checking(self, interval: float) -> None:
        while not self._stop.is_set():
            try:
                self._check_once()
            except NotifyError as error:  # it may pass; a thread that ended would be silence
                log.error("the check failed: %s", error)
            self._stop.wait(interval)

    def stop(self) -> None:
        """End after the check that is under way."""
        self._stop.set()

    def _check_once(self) -> None:
        with worker_lock.hold(self._home, seconds=_TURN_SECONDS):
            settings = check_ready(self._home)
            report = worker_status.read(self._home)
            parts = build_app(settings, with_jobs=self._jobs, with_peers=self._peers)
            try:
                now = time.time()
                tick = parts.look_once(report.last_look_s)
                if settings.config.notify.enabled and not tick.waiting_for:
                    report.last_look_s = now
                    worker_status.write(self._home, report)
            finally:
                parts.close()


class JobMonitor(_Monitor):
    """Tells of jobs."""

    _jobs = True


class PeerMonitor(_Monitor):
    """Tells of peer requests and grants."""

    _peers = True
