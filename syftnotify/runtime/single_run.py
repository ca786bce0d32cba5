"""A single scan without a worker: with its deliveries, or as a dry run that changes nothing."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from syftnotify.config.secrets import key_file
from syftnotify.core.errors import NotifyError
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Notification
from syftnotify.runtime.cluster_member import ClusterMember
from syftnotify.runtime.container import App, build_app
from syftnotify.runtime.health.reporter import HealthReporter
from syftnotify.runtime.opening import require_copied, shared_ledger
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.runtime.status_fields import single_scan_status
from syftnotify.services.settings import check_ready, load_reporting_all
from syftnotify.store.outbox.backup import copy_snapshot
from syftnotify.system import logs, worker_lock, worker_status
from syftnotify.system.paths import Home
from syftnotify.system.worker_status import WorkerStatus


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The result of one scan and its deliveries."""

    jobs: int
    peers: int
    new_events: int
    waiting_for: str  # why the SyftBox folder cannot be scanned; empty if it was
    is_enabled: bool  # whether anything is sent
    warnings: tuple[str, ...]
    status: WorkerStatus


@dataclass(frozen=True, slots=True)
class PlannedNotification:
    """A notification that a scan would enqueue."""

    kind: EventKind
    notification: Notification


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a scan would enqueue."""

    notifications: tuple[PlannedNotification, ...]
    new_events: int
    waiting: int  # notifications that are queued already
    waiting_for: str  # why the SyftBox folder cannot be scanned; empty if it was
    is_enabled: bool  # whether anything would be sent

    @property
    def messages(self) -> int:
        """The number of messages; a digest is one."""
        items = [planned.notification for planned in self.notifications]
        return len({item.bundle or item.id for item in items if not (item.skipped or item.withheld)})


def scan_once(home: Home) -> ScanResult:
    """Scan once and deliver everything that is due, as the worker of `home`.

    Raises:
        NotifyError: another worker runs, the configuration is wrong, or the scan failed.
    """
    with worker_lock.acquire(home):
        logs.configure(home.log)
        settings = check_ready(home)
        require_copied(settings)
        app = build_app(settings)
        try:
            member = ClusterMember(app)
            scan, status = _scan_and_deliver(app, member)
        except NotifyError as error:
            raise NotifyError(f"scan failed: {error}", hint=error.hint) from error
        finally:
            app.close()
    is_enabled = settings.config.notify.enabled
    beside = ["another worker scans this tree; this one has only delivered"] if is_enabled and not member.leads else []
    return ScanResult(
        scan.jobs,
        scan.peers,
        len(scan.events),
        scan.waiting_for,
        is_enabled,
        (*settings.warnings, *beside),
        status,
    )


def dry_run(home: Home) -> DryRun:
    """The notifications that a scan would enqueue now. It uses a copy of the state, so that nothing in `home` changes.

    Raises:
        NotifyError: the configuration or the state cannot be used.
    """
    settings = load_reporting_all(home)
    with tempfile.TemporaryDirectory(prefix="syftnotify-") as folder:
        copy = _copy_state(home, Path(folder))
        if (ledger := shared_ledger(settings)) is not None:
            copy.state.write_bytes(ledger)
        app = build_app(replace(settings, home=copy), discards_changes=True)
        try:
            scan = app.pipeline.tick(time.time(), last_scan=worker_status.read(copy).last_look_s, dry_run=True)
            counts = app.outbox.history.counts(holding=settings.holding)
            # Another worker may have enqueued them since the leader has saved its ledger.
            known = app.outbox.events.known(event.key for event in scan.events)
        finally:
            app.close()
    kinds = {event.key: event.kind for event in scan.events if event.key not in known}
    planned = tuple(
        PlannedNotification(kinds[item.event_key], item) for item in scan.notifications if item.event_key in kinds
    )
    return DryRun(planned, len(kinds), counts.waiting, scan.waiting_for, settings.config.notify.enabled)


def _scan_and_deliver(app: App, member: ClusterMember) -> tuple[ScanReport, WorkerStatus]:
    """Scan unless another worker does, deliver, and write the status file."""
    settings = app.settings
    earlier = worker_status.read(settings.home)
    reporter = HealthReporter(app, clock=time.time, monotonic=time.monotonic)
    started, now = time.perf_counter(), time.time()
    is_enabled = settings.config.notify.enabled
    if is_enabled:
        member.begin_scan()
    if member.leads or not is_enabled:
        scan = app.run_once(earlier.last_look_s)
        member.finish_scan(scan, is_last=True)
    else:
        scan = app.pipeline.tick_beside_leader(app.clock())
        app.dispatcher.drain()
    is_complete = is_enabled and member.leads and not scan.waiting_for
    if is_complete:
        _report_health(app, reporter, scan)
    status = single_scan_status(app, scan, now, time.perf_counter() - started)
    if not is_complete:
        status.last_look_s = earlier.last_look_s
    worker_status.write(settings.home, status)
    return scan, status


def _report_health(app: App, reporter: HealthReporter, scan: ScanReport) -> None:
    counts = app.outbox.history.counts(holding=app.settings.holding)
    # A worker reports a transport after two minutes of failures; this process ends earlier, so one failure is enough.
    is_healthy = all(queue.health.is_healthy for queue in app.dispatcher.queues.values())
    reporter.after_scan(counts, jobs=scan.jobs, peers=scan.peers, is_healthy=is_healthy)
    app.dispatcher.drain()  # the alerts
    reporter.finish()


def _copy_state(home: Home, folder: Path) -> Home:
    """A home in `folder` with copies of the files that a scan reads and writes."""
    copy = Home(folder)
    backup = home.state.with_name(home.state.name + ".bak")
    for path in (home.state, backup, home.worker_status, key_file(home)):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    if home.outbox.is_file():
        copy_snapshot(home.outbox, copy.outbox)
    _copy_files(home.spool, copy.spool)
    return copy


def _copy_files(folder: Path, to: Path) -> None:
    """Copy the regular files of `folder`; a worker may remove some meanwhile."""
    to.mkdir()
    for path in folder.glob("*"):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                shutil.copyfile(path, to / path.name)
