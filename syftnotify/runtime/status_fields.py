"""The fields of `worker.json`, filled from a scan and from the parts of the worker."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from syftnotify import __version__
from syftnotify.config.load import Settings
from syftnotify.core.errors import RecordedError
from syftnotify.core.models import SnapshotStatus
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import iso
from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.services.transports import sign_in_expirations
from syftnotify.system.worker_status import STANDBY, WorkerStatus


def new_status(settings: Settings) -> WorkerStatus:
    """A status with the configuration, before the first scan."""
    return WorkerStatus(
        version=__version__,
        home=str(settings.home.root),
        root=str(settings.root),
        enabled=settings.config.notify.enabled,
        interval=settings.config.notify.interval,
        config=settings.fingerprint,
    )


def single_scan_status(app: App, report: ScanReport, now: float, seconds: float) -> WorkerStatus:
    """The status after the only scan of a process, which began at `now` and took `seconds`."""
    status = new_status(app.settings)
    status.reported_s = now
    status.ended = "scanned once"
    if not report.waiting_for:
        status.last_look_s = now
    set_scan(status, report, now, seconds)
    set_state(status, app, app.outbox.history.counts(holding=app.settings.holding))
    set_error(status, app.dispatcher.status.last_error)
    return status


def set_scan(status: WorkerStatus, report: ScanReport, now: float, seconds: float) -> None:
    """Set the fields about the last scan, which began at `now` and took `seconds`.

    `last_look_s`, the last scan whose events were recorded, is left to the caller.
    """
    if status.role != STANDBY:  # the leader counts them
        status.jobs, status.peers = report.jobs, report.peers
    status.waiting_for = report.waiting_for
    status.delayed = report.delayed
    status.scans += 1
    status.last_scan, status.last_scan_s = {"at": iso(now, exact=True), "seconds": seconds}, now


def set_state(status: WorkerStatus, app: App, counts: OutboxCounts) -> None:
    """Set the fields about the outbox, the ledger and the transports."""
    for name, value in asdict(counts).items():
        setattr(status, name, value)
    status.warnings = list(app.settings.warnings)
    status.peers_source = _peers_source(app.pipeline.peers_status)
    status.damage = "; ".join(filter(None, (app.ledger.corruption, app.outbox.corruption)))
    status.unreadable_alerts = len(app.outbox.alert_rules.unreadable)
    status.transports = _transports(app)
    status.database = "" if app.outbox.cluster is None else app.outbox.cluster.name


def set_error(status: WorkerStatus, error: RecordedError) -> None:
    """Set the fields about the last error."""
    status.last_error = error.text or None
    status.last_error_at = iso(error.at, exact=True) if error.text else None


def _transports(app: App) -> dict[str, dict[str, Any]]:
    monotonic = time.monotonic()
    expirations = sign_in_expirations(app.settings)
    found: dict[str, dict[str, Any]] = {}
    for name, section in app.settings.config.transports.items():
        health = app.dispatcher.queues[name].health
        reason = health.unavailable_reason(monotonic)
        failing = "" if reason else health.unreachable_reason
        found[name] = {"type": section.type, "can_send": not reason, "problem": reason or None}
        if failing:  # for less than two minutes, so it is no problem yet
            found[name]["failing"] = failing
        if name in expirations:
            found[name]["sign_in_ends"] = iso(expirations[name], exact=True)
    return found


def _peers_source(snapshot: SnapshotStatus | None) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    return {
        "path": snapshot.path,
        "synced_at": None if snapshot.synced_at is None else iso(snapshot.synced_at, exact=True),
        "usable": snapshot.usable,
        "problem": snapshot.problem or None,
    }
