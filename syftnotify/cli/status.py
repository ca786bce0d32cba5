"""`notify status`: print the status of the worker."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from syftnotify.cli.console import print_json, print_labeled, print_line, print_warning, print_warnings
from syftnotify.cli.options import HomeOption, JsonOption, resolve_home

if TYPE_CHECKING:
    from syftnotify.services.status import HomeStatus
    from syftnotify.system.worker_status import WorkerStatus

_MAX_VALUE = 1000  # characters of a value in the table
_RECENT_SECONDS = 3600  # after this time, a scan is shown with its time instead of its age

# By the role of the worker among those of its tree.
_ROLES = {
    "leader": "this worker scans the tree",
    "standby": "another worker scans the tree, this one stands by; run `notify db status` for the list",
}


def status(
    context: typer.Context,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show worker status. Exit code 0: running, 3: not running, 4: unhealthy."""
    from syftnotify.services.status import read_status

    current = read_status(resolve_home(context, home))
    if as_json:
        print_json(status_object(current))
    else:
        _print(current)
    raise typer.Exit(current.run_state.value)


def print_state(context: typer.Context) -> None:
    """What `notify` alone prints: whether the worker runs, and the command that a user needs next."""
    from syftnotify.core.text import escape, with_local_times
    from syftnotify.services.status import read_status

    current = read_status(resolve_home(context, None))
    print_line(f"worker: {state_label(current)}")
    for problem in current.health_problems:
        print_line(f"problem: {with_local_times(problem)}")
    if current.is_running and current.report.waiting_for:
        print_warning(current.report.waiting_for)
    for name, transport in current.report.transports.items() if current.is_running else ():
        if transport.get("failing"):
            print_warning(f"transport {escape(name)}: {with_local_times(str(transport['failing']))}")
    print_warnings(current.notices)
    print_line(f"next:   {_next_command(current)}")
    print_line("all commands: notify --help")


def status_object(status: "HomeStatus") -> dict[str, Any]:
    """The JSON object of a status."""
    from syftnotify.system.worker_status import Phase

    report, is_running = status.report, status.is_running
    return {
        "running": is_running,
        "phase": status.phase.value,
        "progress": {"scanned": report.scanned, "total": report.total} if status.is_scanning else None,
        "killed_at": status.reported_at if status.phase is Phase.KILLED else None,
        "pid": status.pid,
        "started_at": report.started_at if is_running else None,
        "version": report.version if is_running else status.version,
        "home": report.home,
        "root": report.root,
        "jobs": report.jobs,
        "peers": report.peers,
        "last_scan": report.last_scan,
        "waiting": report.waiting,
        "sent": report.sent,
        "notifications": report.notifications,
        "failed": report.failed,
        "unknown": report.unknown,
        "held": report.held,
        "dead": report.dead,
        "unacknowledged": report.unacknowledged,
        "withheld": report.withheld,
        "delayed": report.delayed,
        "vanished": report.vanished or None,
        "last_error": report.last_error,
        "last_error_at": report.last_error_at,
        "transports": report.transports,
        "api": (report.api or None) if is_running else None,
        "peers_source": report.peers_source,
        "database": report.database or None,
        "role": (report.role or None) if is_running else None,
        "syft_bg": dict(status.syft_bg) or None,
        "enabled": report.enabled,
        "watching": report.watching if is_running else False,
        "waiting_for": (report.waiting_for or None) if is_running else None,
        "unwell": list(status.health_problems),
        "notices": list(status.notices),
    }


def _print(status: "HomeStatus") -> None:
    from rich.cells import cell_len

    from syftnotify.core.text import escape_block, with_local_times

    rows = list(_rows(status))
    width = max(cell_len(label) for label, _ in rows)
    for label, value in rows:
        print_labeled(label, with_local_times(escape_block(value[:_MAX_VALUE])), "bold", width=width)
    report = status.report
    if not report.enabled:
        print_warning("notify.enabled is false: nothing is sent")
    if status.is_running and report.waiting_for:
        print_line(f"{report.waiting_for}; the first scan starts when it is there")
    print_warnings(f"unhealthy: {with_local_times(problem)}" for problem in status.health_problems)
    print_warnings(status.notices)
    if not status.is_running:
        print_line(_next_step(status))


def _next_step(status: "HomeStatus") -> str:
    """What to do to start a worker."""
    home = status.home
    if status.notices:
        return f"correct {home.config}, then run `notify start`"
    if home.config.exists():
        return "run `notify start`"
    return f"there is no configuration in {home.root}; run `notify init`"


def _next_command(status: "HomeStatus") -> str:
    """The command that a user needs next, with the reason."""
    if not status.is_running:
        return _next_step(status)
    if status.report.unacknowledged or status.report.held:
        return "run `notify dead-letters` to see what could not be delivered"
    if status.health_problems:
        return "run `notify status` for the details, `notify doctor` for the cause"
    return "run `notify history` to see what was sent"


def state_label(status: "HomeStatus") -> str:
    from syftnotify.core.text import iso_to_local, plural
    from syftnotify.system.worker_status import Phase

    if status.phase is Phase.STOPPED:
        return "not running"
    if status.phase is Phase.KILLED:
        return f"not running; ended without stopping at {iso_to_local(status.reported_at or '') or 'an unknown time'}"
    label = "starting" if status.phase is Phase.STARTING else "running"
    if status.is_scanning:
        label += f": scanned {status.report.scanned:,} of {plural(status.report.total, 'job')}"
    return f"{label}{', unhealthy' if status.health_problems else ''} (pid {status.pid})"


def _rows(status: "HomeStatus") -> Iterator[tuple[str, str]]:
    """Label and value of each line."""
    import time

    from syftnotify.core.text import escape, iso_to_local, plural
    from syftnotify.services.status import syft_bg_lines

    report = status.report
    yield "worker", state_label(status)
    if status.is_running and report.started_at:
        yield "since", iso_to_local(report.started_at)
    yield "version", status.version
    yield "home", report.home
    if report.root:
        yield "SyftBox", report.root
    if report.database:
        yield "database", escape(report.database)
        if status.is_running:
            yield "", _ROLES.get(report.role, "")
    if report.role != "standby":  # the leader counts them
        yield "known", f"{plural(report.jobs, 'job')}, {plural(report.peers, 'peer')}"
    yield "last scan", _last_scan(report)
    yield from _message_rows(report)
    for name, transport in report.transports.items() if status.is_running else ():
        yield f"transport {escape(name)}", f"{transport.get('type')}, {_transport_state(transport)}"
    if status.is_running and report.api:
        yield "page, API", report.api
    yield from syft_bg_lines(status, time.time())
    if report.last_error:
        at = iso_to_local(report.last_error_at or "")
        yield "last error", f"{at}: {report.last_error}" if at else report.last_error


def _transport_state(transport: dict[str, Any]) -> str:
    return str(transport.get("problem") or transport.get("failing") or "can send")


def _message_rows(report: "WorkerStatus") -> Iterator[tuple[str, str]]:
    from syftnotify.core.text import plural

    failed = f" ({report.failed} after a failure)" if report.failed else ""
    acknowledged = " (acknowledged)" if report.dead and not report.unacknowledged else ""
    items = f" ({plural(report.notifications, 'notification')})" if report.notifications != report.sent else ""
    yield "messages", f"{report.sent} sent{items}, {report.waiting} waiting{failed}, {report.dead} dead{acknowledged}"
    if report.delayed:
        yield "", f"{plural(report.delayed, 'job')} of submitters with more than 100 events a minute: detected later"
    if report.unknown:
        yield "", f"{plural(report.unknown, 'attempt')} of unknown outcome: the message may have arrived"
    if report.held:
        held = plural(report.held, "message")
        yield "", f"{held} of these held; run `notify dead-letters` for the ids, `notify resend ID...` to send them"
    if report.withheld:
        withheld = plural(report.withheld, "message")
        yield "", f"{withheld} withheld; run `notify history --state withheld` for the reasons"
    if report.unacknowledged:
        yield "", "run `notify dead-letters` for the list, `notify resend --all-dead` to send them again"


def _last_scan(report: "WorkerStatus") -> str:
    import time

    from syftnotify.core.text import local_time

    seconds = report.last_scan["seconds"]
    if report.last_scan_s is None or seconds is None:
        return "never"
    ago = max(0.0, time.time() - report.last_scan_s)
    when = f"{ago:.0f} s ago" if ago < _RECENT_SECONDS else local_time(report.last_scan_s)
    return f"{when}, took {seconds:.3f} s"
