"""The status that a running worker writes to `worker.json`."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

from syftnotify.config.load import Settings
from syftnotify.core.errors import NO_ERROR, RecordedError, StateError
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import iso
from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.runtime.status_fields import new_status, set_error, set_scan, set_state
from syftnotify.system import worker_status
from syftnotify.system.worker_status import Phase

log = logging.getLogger(__name__)

_LOG_SECONDS = 2.0  # between two log lines about progress
_UPDATE_SECONDS = 0.5  # between two updates that only report deliveries or progress


class Step(StrEnum):
    """Steps whose failures are counted. The values are keys in `worker.json`."""

    SCAN = "scan"
    WATCH = "watch"
    HEALTH = "health"
    RECOVERY = "recovery"  # of what dead workers were sending
    DELIVERY = "delivery"  # in the thread of the dispatcher, which counts its own failures


class Served(Protocol):
    """The API of a worker."""

    @property
    def url(self) -> str:
        """Its address; empty while it is not served."""

    @property
    def problem(self) -> str:
        """Why it is not served; empty while it is."""


class StatusReporter:
    """Collects the status of a worker and writes it. Only for the thread of the loop, except `mark_changed`."""

    def __init__(
        self, settings: Settings, *, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.status = new_status(settings)
        self.counts = OutboxCounts()  # as of the last update
        self.served: Served | None = None
        self.last_error = NO_ERROR  # of a scan, another step, or the counting
        self._home = settings.home
        self._holding = settings.holding
        self._clock = clock
        self._monotonic = monotonic
        self._has_changed = True
        self._written_at = 0.0  # on the monotonic clock
        self._logged_at = monotonic()  # progress
        self._failures: dict[str, dict[str, Any]] = {}  # as in `worker.json`: by step, {"count": ..., "error": ...}

    def start(self) -> None:
        """Write the status of a worker that starts, with the time of the last scan of the previous worker."""
        self.status.phase = Phase.STARTING
        self.status.pid, self.status.started_at = os.getpid(), iso(self._clock(), exact=True)
        self.status.last_look_s = worker_status.read(self._home).last_look_s
        self._write()

    def mark_changed(self) -> bool:
        """Record that the outbox or a transport may have changed; returns whether no change was recorded before.

        Safe to call from any thread.
        """
        had_changed, self._has_changed = self._has_changed, True
        return not had_changed

    def seconds_until_update(self) -> float:
        """Seconds until a change must be written; infinite if nothing changed."""
        if not self._has_changed:
            return math.inf
        return max(0.0, self._written_at + _UPDATE_SECONDS - self._monotonic())

    def record_progress(self, scanned: int, total: int) -> None:
        """Record that the first scan has read `scanned` of `total` jobs; written at most twice a second.

        Logged at most every two seconds, so that a worker in the foreground shows its progress.
        """
        self.status.scanned, self.status.total = scanned, total
        if scanned < total and self._monotonic() >= self._logged_at + _LOG_SECONDS:
            self._logged_at = self._monotonic()
            log.info("first scan: %s of %s jobs", f"{scanned:,}", f"{total:,}")
        if scanned == total or self._monotonic() >= self._written_at + _UPDATE_SECONDS:
            self._write()

    def record_scan(self, report: ScanReport, now: float, seconds: float) -> None:
        """Record a successful scan, which began at `now` and took `seconds`; its problems are logged."""
        set_scan(self.status, report, now, seconds)
        for problem in report.problems:
            log.warning("%s", problem)
            self._set_error(problem)
        if report.notifications or report.released:
            self._has_changed = True

    def record_success(self, step: Step) -> None:
        """Clear the failures of `step`."""
        if self._failures.pop(step, None):
            self._has_changed = True

    def record_failure(self, step: Step, error: Exception) -> int:
        """Record a failure; returns the number of failures since the last success of the same step."""
        self._set_error(str(error) or type(error).__name__)
        count = int(self._failures.get(step, {"count": 0})["count"]) + 1
        self._failures[step] = {"count": count, "error": self.last_error.text}
        self._has_changed = True
        return count

    def is_healthy(self) -> bool:
        """Whether scans and deliveries work, and the SyftBox folder exists, as of the last update."""
        is_failing = self.status.failures.keys() & {Step.SCAN, Step.WATCH, Step.DELIVERY}
        return not (is_failing or self.status.waiting_for or self.status.vanished)

    def update(self, app: App) -> None:
        """Write the complete status; the notifications are counted again if something changed."""
        if self._has_changed or app.outbox.cluster is not None:  # other workers send, too
            self._count(app)
        set_state(self.status, app, self.counts)
        self.status.failures = dict(self._failures)
        if self.served is not None:
            self.status.api, self.status.api_problem = self.served.url, self.served.problem
        delivery = app.dispatcher.status
        set_error(self.status, max(delivery.last_error, self.last_error))
        if delivery.failed_passes:
            self.status.failures[Step.DELIVERY] = {"count": delivery.failed_passes, "error": delivery.last_error.text}
        self._write()

    def finish(self, app: App) -> None:
        """Write the last status of a worker that stops."""
        self._has_changed = True
        self.status.ended = self.status.ended or "stopped"
        self.update(app)

    def _count(self, app: App) -> None:
        self._has_changed = False  # before counting, so that a change meanwhile is not missed
        try:
            self.counts = app.outbox.history.counts(holding=self._holding)
        except StateError as error:
            self._has_changed = True  # the next update tries again
            self._set_error(str(error))

    def _set_error(self, text: str) -> None:
        self.last_error = RecordedError(self._clock(), text)

    def _write(self) -> None:
        self._written_at = self._monotonic()
        self.status.reported_s = self._clock()
        try:
            worker_status.write(self._home, self.status)
        except OSError as error:
            log.error("worker.json cannot be written: %s", error.strerror)
