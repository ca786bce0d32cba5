"""The loop of the worker: scans, deliveries and health checks, until it is stopped."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar

from syftnotify import __version__
from syftnotify.config.load import Settings
from syftnotify.core.cluster import WorkerMode
from syftnotify.core.errors import AlreadyRunningError, LockLostError, StateError
from syftnotify.runtime import systemd
from syftnotify.runtime.cluster_member import ClusterMember
from syftnotify.runtime.container import build_app
from syftnotify.runtime.health.reporter import HealthReporter
from syftnotify.runtime.sampler import Sampler
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.runtime.scan_schedule import ScanSchedule
from syftnotify.runtime.start_warnings import start_warnings
from syftnotify.runtime.status_reporter import Served, StatusReporter, Step
from syftnotify.runtime.vanished_folders import VanishedFolders
from syftnotify.runtime.wakeup import WakeupPipe
from syftnotify.sources.syftbox.watch.watcher import ChangeWatcher
from syftnotify.system.logs import level_of_failures
from syftnotify.system.worker_lock import WorkerLock
from syftnotify.system.worker_status import Phase

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_HEALTH_CHECK_SECONDS = 10.0  # between two health checks while a transport fails
_LOCK_ERRORS = (AlreadyRunningError, LockLostError)


class Worker:
    """Scans, enqueues and delivers until it is stopped or loses its lock."""

    def __init__(
        self,
        settings: Settings,
        lock: WorkerLock,
        *,
        mode: WorkerMode = WorkerMode.FULL,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`mode` is FULL or SCAN; `clock` None: that of this machine, or of the database that several workers share.

        Raises: StateError, the ledger, the outbox or the spool cannot be used.
        """
        notify = settings.config.notify
        self._is_enabled = notify.enabled
        self._delivers = notify.enabled and mode is WorkerMode.FULL
        self._lock = lock
        self._clock = clock or time.time
        self._wakeup = WakeupPipe()
        self._is_stopping = False
        self._is_scan_requested = False  # something changed: scan before the interval ends
        self._is_delivering = False
        self._is_replaced = False  # another worker holds the lock
        self._health_checked_at = 0.0  # last check between two scans, on the monotonic clock
        self._watchdog_seconds = systemd.watchdog_seconds()
        self._reporter = StatusReporter(settings, clock=self._clock)
        self._reporter.start()  # before the outbox is opened and checked, which may take long
        self._app = build_app(settings, clock=clock, on_change=self.request_update, mode=mode)
        self._member = ClusterMember(self._app)
        self._health = HealthReporter(self._app, clock=self._app.clock, monotonic=time.monotonic)
        self._sampler = Sampler(self._app.outbox, settings.holding)
        self._watcher = ChangeWatcher(self._on_tree_change, has_limits=notify.watch != "on")
        self._schedule = ScanSchedule(float(notify.interval))
        self._folders = VanishedFolders(allows_changes=settings.config.for_scientist)

    def start(self) -> list[str]:
        """Do the first scan and start the deliveries; returns warnings.

        Raises:
            StateError: the ledger or the outbox cannot be used.
            AlreadyRunningError, LockLostError: the lock file was replaced or removed.
        """
        systemd.sd_notify("STATUS=first scan")
        self._member.recover()
        report = self._attempt(Step.SCAN, self._scan, fatal=(StateError, *_LOCK_ERRORS))
        self._schedule.finish(report)
        if self._delivers:
            self._app.dispatcher.start()
            self._is_delivering = True
        if self._is_enabled:
            self._health.report_start()
        self._reporter.status.phase = Phase.RUNNING
        self._reporter.update(self._app)
        log.info("worker %s started, pid %d, root %s", __version__, os.getpid(), self._app.settings.root)
        systemd.sd_notify("READY=1\nSTATUS=running")
        failed = ScanReport(problems=[f"the first scan failed: {self._reporter.last_error.text}"])
        warnings = start_warnings(self._app, report or failed)
        if self.served is not None and self.served.problem:
            warnings.append(f"the API is not served: {self.served.problem}")
        for warning in warnings:
            log.warning("%s", warning)
        return warnings

    def run(self) -> None:
        """Scan every interval, and sooner after changes, until `stop` is called; then shut down.

        Raises:
            AlreadyRunningError, LockLostError: the lock file was replaced or removed.
        """
        try:
            self._attempt(Step.WATCH, self._watch)
            self._schedule.start()
            while self._wait_for_scan():
                self._schedule.finish(self._attempt(Step.SCAN, self._scan, fatal=_LOCK_ERRORS))
                self._attempt(Step.WATCH, self._watch)
                self._reporter.update(self._app)
                self._attempt(Step.HEALTH, self._report_health)
        except _LOCK_ERRORS as error:
            log.error("stopping: %s", error)
            self._reporter.status.ended = "lost its lock"
            self._is_replaced = isinstance(error, AlreadyRunningError)
            raise
        finally:
            self._shut_down()

    @property
    def served(self) -> Served | None:
        """The API of this worker; None: it serves none."""
        return self._reporter.served

    @served.setter
    def served(self, served: Served) -> None:
        self._reporter.served = served

    def request_update(self) -> None:
        """Request an update of the status; called by threads of the dispatcher and of the server."""
        if self._reporter.mark_changed():
            self._wakeup.wake()

    def stop(self) -> None:
        """Make `run` return soon. Safe to call from a signal handler."""
        self._is_stopping = True
        self._wakeup.wake()

    # -- steps ---------------------------------------------------------------------------------------------------

    def _attempt(
        self, step: Step, action: Callable[[], _Result], *, fatal: tuple[type[Exception], ...] = ()
    ) -> _Result | None:
        """Run one step; returns None if it failed. Failures are logged and counted; `fatal` ones are raised."""
        try:
            result = action()
        except fatal:
            raise
        except Exception as error:  # no failure of a single step may end the worker
            count = self._reporter.record_failure(step, error)
            is_complete = isinstance(error, StateError)  # its text is
            level = level_of_failures(self._app.outbox.cluster) if is_complete else logging.ERROR
            text = "%s failed (%d in a row): %s"
            log.log(level, text, step, count, self._reporter.last_error.text, exc_info=not is_complete)
            return None
        self._reporter.record_success(step)
        return result

    def _scan(self) -> ScanReport:
        is_full = self._schedule.begin()  # first, so that a failed scan, too, is repeated after an interval
        self._lock.check()
        started, now = time.perf_counter(), self._clock()
        report = self._run_pipeline(now, is_full=is_full)
        seconds = time.perf_counter() - started
        self._reporter.record_scan(report, now, seconds)
        found = () if report.waiting_for else self._app.jobs.job_folders()
        self._reporter.status.vanished = self._folders.check(found, report.waiting_for, now)
        level = logging.INFO if report.events else logging.DEBUG
        log.log(level, "scanned %d jobs and %d peers in %.3f s", report.jobs, report.peers, seconds)
        self._wake_dispatcher()
        return report

    def _run_pipeline(self, now: float, *, is_full: bool) -> ScanReport:
        changed_paths = self._watcher.pop_changed_paths()
        if not self._is_enabled:
            return self._app.pipeline.count()
        status, pipeline = self._reporter.status, self._app.pipeline
        shared_now = self._app.clock()
        is_full = self._member.begin_scan() or is_full
        status.role = self._member.role
        if not self._member.leads:
            status.last_look_s = now  # what happens now is the leader's to report: no downtime
            return pipeline.tick_beside_leader(shared_now)
        is_first = status.last_scan_s is None
        report = pipeline.tick(
            shared_now,
            last_scan=None if status.last_look_s is None else status.last_look_s + shared_now - now,
            changed_paths=None if is_full else changed_paths,
            skip_archived=is_first,
            progress=self._member.progress(self._reporter.record_progress if is_first else None),
        )
        if not report.waiting_for:
            status.last_look_s = now
        self._member.finish_scan(report)
        return report

    def _wake_dispatcher(self) -> None:
        """Deliver what is due, including notifications that another process requeued."""
        self._app.dispatcher.wake()
        if self._is_delivering and not self._app.dispatcher.is_alive:
            log.error("the dispatcher thread has ended; starting it again")
            self._app.dispatcher.start()

    def _watch(self) -> None:
        """Watch the folders of the last scan for changes."""
        if self._app.settings.config.notify.watch == "off":
            return
        if self._watcher.watch([*self._app.jobs.watch_specs(), *self._app.pipeline.watch_specs()]):
            # Only a full scan finds what changed before the folders were watched.
            self._schedule.request_full_scan()
            self._is_scan_requested = True
        self._reporter.status.watching = self._watcher.is_watching

    def _report_health(self) -> None:
        if self._is_enabled and self._member.leads:
            self._sampler.take(self._app.clock())
            status = self._reporter.status
            self._health.after_scan(
                self._reporter.counts, jobs=status.jobs, peers=status.peers, is_healthy=self._reporter.is_healthy()
            )

    # -- waiting -------------------------------------------------------------------------------------------------

    def _wait_for_scan(self) -> bool:
        """Wait until the next scan is due; returns False when the worker stops.

        Meanwhile the status is updated and transports that fail are checked.
        """
        self._schedule.plan()
        while not self._is_stopping:
            if self._is_scan_requested:
                self._is_scan_requested = False
                self._schedule.bring_forward()
            remaining = self._schedule.due - time.monotonic()
            if remaining <= 0:
                return True
            if self._watchdog_seconds is not None:
                systemd.sd_notify("WATCHDOG=1")
            self._wakeup.wait(min(remaining, self._seconds_until_task()))
            if self._member.seconds_until_recovery() <= 0:
                self._attempt(Step.RECOVERY, self._member.recover)
            if self._needs_health_check() and self._seconds_until_health_check() <= 0:
                self._check_health()
            is_update_due = self._reporter.seconds_until_update() <= 0
            if is_update_due and not self._is_stopping and not self._is_scan_requested:
                self._reporter.update(self._app)
        return False

    def _seconds_until_task(self) -> float:
        """Seconds until the status, the health check or the watchdog is due; may be infinite."""
        seconds = self._reporter.seconds_until_update()
        if self._needs_health_check():
            seconds = min(seconds, self._seconds_until_health_check())
        if self._watchdog_seconds is not None:
            seconds = min(seconds, self._watchdog_seconds / 2)
        return min(seconds, self._member.seconds_until_recovery())

    def _needs_health_check(self) -> bool:
        return self._is_enabled and self._member.leads and self._health.needs_check(self._reporter.counts)

    def _seconds_until_health_check(self) -> float:
        return max(0.0, self._health_checked_at + _HEALTH_CHECK_SECONDS - time.monotonic())

    def _check_health(self) -> None:
        self._health_checked_at = time.monotonic()
        self._reporter.mark_changed()  # the status changes when a transport has failed for long
        self._attempt(Step.HEALTH, self._health.check)

    def _on_tree_change(self) -> None:
        """Request a scan; called by threads of the watcher."""
        self._is_scan_requested = True
        self._wakeup.wake()

    # -- end -----------------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        systemd.sd_notify("STOPPING=1")
        self._app.dispatcher.stop()
        self._watcher.stop()
        try:
            self._member.finish()
        except StateError as error:
            log.error("the ledger cannot be saved: %s", error)
        if not self._is_replaced:  # otherwise worker.json belongs to the other worker
            self._reporter.finish(self._app)
        self._app.outbox.close()
        self._wakeup.close()
        counts = self._reporter.counts
        log.info("worker stopped, pid %d: %d waiting, %d sent", os.getpid(), counts.waiting, counts.sent)
