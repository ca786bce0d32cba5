"""`notify run`: run the worker in the foreground, scan once, or show what a scan would send."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from syftnotify.cli.console import out, print_line, print_warning, print_warnings
from syftnotify.cli.options import HomeOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.runtime.single_run import DryRun, PlannedNotification
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
    from syftnotify.runtime.startup import run_worker
    from syftnotify.system import logs, worker_lock
    from syftnotify.system.ownership import check_home
    from syftnotify.web.launch import serve_in_thread

    check_home(home)
    try:
        home.create()
        logs.configure(home.log, echo=sys.stderr)
    except OSError as error:
        raise worker_lock.home_error(home, error) from error
    run_worker(home, serve=serve_in_thread, on_started=print_warnings)


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
        _print_table(result)
    if not result.is_enabled:
        print_warning("notify.enabled is false: nothing would be sent, and nothing was changed")
        return
    print_line(
        f"{plural(result.messages, 'message')} would be sent for {plural(result.new_events, 'new event')}, besides "
        f"{plural(result.waiting, 'queued notification')}. Nothing was changed."
    )


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
