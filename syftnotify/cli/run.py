"""`notify run`: the worker's work in the foreground, once, or as a rehearsal."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from syftnotify.cli.console import out, say, warn
from syftnotify.config.secrets import key_file
from syftnotify.core.errors import NotifyError
from syftnotify.core.text import escape, plural
from syftnotify.runtime.container import App, build_app
from syftnotify.runtime.health.reporter import HealthReporter
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.runtime.startup import run_worker
from syftnotify.runtime.status_fields import single_scan_status
from syftnotify.services.settings import check_ready, load_reporting_all
from syftnotify.system import logs, worker_lock, worker_status
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home


def foreground(home: Home) -> None:
    """Work until SIGTERM or Ctrl-C."""
    check_home(home)
    try:
        home.create()
        logs.configure(home.log, echo=sys.stderr)
    except OSError as error:
        raise worker_lock.home_error(home, error) from error
    run_worker(home, on_started=_say_warnings)


def _say_warnings(warnings: list[str]) -> None:
    for warning in warnings:
        warn(warning)


def once(home: Home) -> None:
    """One look; everything due now is delivered."""
    with worker_lock.acquire(home):
        logs.configure(home.log)
        settings = check_ready(home)
        before = worker_status.read(home)
        parts = build_app(settings)
        vitals = HealthReporter(parts, clock=time.time, monotonic=time.monotonic)
        try:
            begun, now = time.perf_counter(), time.time()
            tick = parts.run_once(before.last_look_s)
            if settings.config.notify.enabled and not tick.waiting_for:
                _say_how_it_goes(parts, vitals, tick)
            report = single_scan_status(parts, tick, now, time.perf_counter() - begun)
            if tick.waiting_for or not settings.config.notify.enabled:
                report.last_look_s = before.last_look_s
            worker_status.write(home, report)
        except NotifyError as error:
            raise NotifyError(f"the look failed: {error}", hint=error.hint) from error
        finally:
            parts.close()
    _say_warnings(list(settings.warnings))
    if tick.waiting_for:
        warn(tick.waiting_for)
    if not settings.config.notify.enabled:
        warn("notify.enabled is false: nothing is sent")
    say(
        f"looked at {plural(tick.jobs, 'job')} and {plural(tick.peers, 'peer')}: "
        f"{plural(len(tick.events), 'new event')}; "
        f"{report.sent} sent in all, {report.waiting} waiting, {report.dead} dead"
        + (f", {report.withheld} withheld" if report.withheld else "")
    )


def _say_how_it_goes(parts: App, vitals: HealthReporter, tick: ScanReport) -> None:
    counts = parts.outbox.history.counts(holding=parts.settings.holding)
    # A process that lives this short sees no transport fail for two minutes: one failure holds the ping back.
    is_well = all(queue.health.is_healthy for queue in parts.dispatcher.queues.values())
    vitals.after_scan(counts, jobs=tick.jobs, peers=tick.peers, is_healthy=is_well)
    parts.dispatcher.drain()  # the alerts
    vitals.finish()


def rehearse(home: Home) -> None:
    """Print what a look would send now. It works on a copy of what is known, so nothing here changes."""
    settings = load_reporting_all(home)
    with tempfile.TemporaryDirectory(prefix="syftnotify-") as folder:
        copy = Home(Path(folder))
        for path in (
            home.state,
            home.state.with_name(home.state.name + ".bak"),
            home.outbox,
            home.worker_status,
            key_file(home),
        ):
            for name in (path.name, f"{path.name}-wal"):
                if (path.parent / name).is_file():
                    shutil.copyfile(path.parent / name, copy.root / name)
        _copy_files(home.spool, copy.spool)
        parts = build_app(replace(settings, home=copy))
        try:
            tick = parts.pipeline.tick(time.time(), last_scan=worker_status.read(copy).last_look_s, dry_run=True)
            counts = parts.outbox.history.counts(holding=settings.holding)
        finally:
            parts.close()
    table = Table(box=None, pad_edge=False)
    for name in ("event", "to", "about"):
        table.add_column(name, overflow="fold")
    kinds = {event.key: event.kind.value for event in tick.events}
    for item in tick.notifications:
        kind = kinds[item.event_key] + (" (digest)" if item.bundle else "")
        reason = item.skipped or item.withheld
        way = f"not sent: {reason}" if reason else f"as {item.audience.value}, through {item.transport}"
        table.add_row(kind, Text(escape(item.recipient)), Text(f"{escape(item.entity)}\n{way}"))
    if tick.waiting_for:
        warn(tick.waiting_for)
    if tick.notifications:
        out.print(table)
    if not settings.config.notify.enabled:
        warn("notify.enabled is false: nothing would be sent, and nothing was changed")
        return
    messages = {item.bundle or item.id for item in tick.notifications if not (item.skipped or item.withheld)}
    say(
        f"{plural(len(messages), 'message')} would be sent for {plural(len(tick.events), 'new event')}, besides "
        f"{plural(counts.waiting, 'notification')} that {'waits' if counts.waiting == 1 else 'wait'} already. "
        "Nothing was changed."
    )


def _copy_files(folder: Path, to: Path) -> None:
    """Copy what a worker would read; it may take something up meanwhile, and what is no file is no event."""
    to.mkdir()
    for path in folder.glob("*"):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                shutil.copyfile(path, to / path.name)
