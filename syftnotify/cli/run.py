"""`notify run`: run the worker in the foreground, scan once, or show what a scan would send."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.console import print_line, print_rows, print_warning, print_warnings
from syftnotify.cli.options import HomeOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.runtime.single_run import PlannedNotification
    from syftnotify.system.paths import Home

_HEADER = ("EVENT", "RECIPIENT", "TRANSPORT", "ABOUT")  # of `_row`


def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Scan and deliver once, then exit.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; change nothing.")] = False,
    deliver_only: Annotated[
        bool, typer.Option("--deliver-only", help="Deliver for all homes of the database; scan nothing.")
    ] = False,
    scan_only: Annotated[
        bool, typer.Option("--scan-only", help="Scan and send nothing; other workers of the database deliver.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Run the worker in the foreground until Ctrl-C."""
    resolved = resolve_home(context, home)
    if (deliver_only or scan_only) and (once or dry_run or (deliver_only and scan_only)):
        raise typer.BadParameter("use only one of --once, --dry-run, --scan-only and --deliver-only.")
    if dry_run:
        _dry_run(resolved)
    elif once:
        _scan_once(resolved)
    else:
        _run_worker(resolved, deliver_only=deliver_only, scan_only=scan_only)


def _run_worker(home: "Home", *, deliver_only: bool, scan_only: bool) -> None:
    """Run until SIGTERM or Ctrl-C."""
    from syftnotify.core.cluster import WorkerMode
    from syftnotify.runtime.startup import run_deliveries, run_worker
    from syftnotify.system import logs, worker_lock
    from syftnotify.system.ownership import check_home
    from syftnotify.web.launch import serve_in_thread

    check_home(home)
    try:
        home.create()
        if deliver_only:  # the log file of the home belongs to a worker that scans
            logs.configure(None, echo=sys.stderr)
        else:
            logs.configure(home.log, echo=sys.stderr)
    except OSError as error:
        raise worker_lock.home_error(home, error) from error
    if deliver_only:
        run_deliveries(home, on_started=print_warnings)
        return
    mode = WorkerMode.SCAN if scan_only else WorkerMode.FULL
    run_worker(home, serve=serve_in_thread, on_started=print_warnings, mode=mode)


def _scan_once(home: "Home") -> None:
    from syftnotify.core.text import plural
    from syftnotify.runtime.single_run import scan_once

    result = scan_once(home)
    print_warnings(result.warnings)
    if result.waiting_for:
        print_warning(result.waiting_for)
    if not result.is_enabled:
        print_warning("notify.enabled is false: nothing is sent")
    status = result.status
    withheld = f", {status.withheld} withheld" if status.withheld else ""
    print_line(
        f"scanned {plural(result.jobs, 'job')} and {plural(result.peers, 'peer')}: "
        f"{plural(result.new_events, 'new event')}; "
        f"{status.sent} sent in all, {status.waiting} waiting, {status.dead} dead{withheld}"
    )


def _dry_run(home: "Home") -> None:
    from syftnotify.core.text import plural
    from syftnotify.runtime.single_run import dry_run

    result = dry_run(home)
    if result.waiting_for:
        print_warning(result.waiting_for)
    if result.notifications:
        print_rows(map(_row, result.notifications), header=_HEADER, flexible=(1, 3))
    if not result.is_enabled:
        print_warning("notify.enabled is false: nothing would be sent, and nothing was changed")
        return
    print_line(
        f"{plural(result.messages, 'message')} would be sent for {plural(result.new_events, 'new event')}, besides "
        f"{plural(result.waiting, 'queued notification')}. Nothing was changed."
    )


def _row(planned: "PlannedNotification") -> tuple[str, ...]:
    """The columns of `_HEADER`."""
    from syftnotify.core.text import escape, short_name

    item = planned.notification
    reason = item.skipped or item.withheld
    event = f"{planned.kind.value}{' (digest)' if item.bundle else ''}"
    about = f"{short_name(item.entity)}{f': not sent: {escape(reason)}' if reason else ''}"
    return event, escape(item.recipient), item.transport, about
