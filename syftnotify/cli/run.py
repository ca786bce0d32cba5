"""`notify run`: work in the foreground, scan once, or show what a scan would send."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

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


def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Scan and deliver once, then exit.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Run the worker in the foreground until Ctrl-C."""
    resolved = resolve_home(context, home)
    if dry_run:
        _dry_run(resolved)
    elif once:
        _scan_once(resolved)
    else:
        _run_worker(resolved)


def _run_worker(home: "Home") -> None:
    """Run until SIGTERM or Ctrl-C."""
    from syftnotify.runtime.worker import work
    from syftnotify.system import logs, worker_lock
    from syftnotify.system.ownership import check_home

    check_home(home)
    try:
        home.create()
        logs.configure(home.log, echo=sys.stderr)
    except OSError as error:
        raise worker_lock.home_error(home, error) from error
    run_worker(home, on_started=_say_warnings)


def _scan_once(home: "Home") -> None:
    from syftnotify.core.text import plural
    from syftnotify.runtime.single_run import scan_once


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


def _print_table(result: "DryRun") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("event", "to", "about"):
        table.add_column(name, overflow="fold")
    for planned in result.notifications:
        table.add_row(*(Text(cell) for cell in _cells(planned)))
    out.print(table)


def _cells(planned: "PlannedNotification") -> tuple[str, str, str]:
    from syftnotify.core.text import escape

    item = planned.notification
    reason = item.skipped or item.withheld
    detail = f"not sent: {reason}" if reason else f"as {item.audience.value}, through {item.transport}"
    event = f"{planned.kind.value}{' (digest)' if item.bundle else ''}"
    return event, escape(item.recipient), f"{escape(item.entity)}\n{detail}"
