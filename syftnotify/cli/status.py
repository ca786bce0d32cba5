"""`notify status`: from `worker.json` and the lock alone, so that it answers at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from syftnotify import __version__
from syftnotify.cli.console import emit_line, out, say, warn
from syftnotify.core.errors import NotifyError
from syftnotify.core.text import escape, escape_block, iso, iso_to_local, local_time, plural
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.files import fingerprint
from syftnotify.system.paths import Home
from syftnotify.system.worker_status import Phase

RUNNING, NOT_RUNNING, UNHEALTHY = 0, 3, 4
_AT_WORK = frozenset({Phase.STARTING, Phase.RUNNING})
_NEAR_SECONDS = 2 * 86400  # before a sign-in ends


def show(home: Home, *, as_json: bool) -> int:
    """Print the status of the worker of `home`; returns the exit code."""
    report, pid, phase = worker_lock.current_status(home)
    held = phase in _AT_WORK
    lock_lost = held and worker_lock.is_lock_lost(home)
    ailments = worker_status.health_problems(report, time.time(), lock_lost=lock_lost) if held else []
    notices = _notices(home, report) if held else _mistakes(home)
    if as_json:
        emit_line(json.dumps(_object(report, pid, phase, ailments, notices)))
    else:
        _print(home, report, pid, phase, ailments, notices)
    if not held:
        return NOT_RUNNING
    return UNHEALTHY if ailments else RUNNING


def _notices(home: Home, report: worker_status.WorkerStatus) -> list[str]:
    found = list(report.warnings)
    if report.config and report.config != _fingerprint(home):
        found += _mistakes(home) or ["the configuration changed since the start: `notify restart` applies it"]
    if report.version and report.version != __version__:
        found.append(f"version {__version__} is installed, {report.version} is running: `notify restart` applies it")
    for name, transport in report.transports.items():
        if (ends := transport.get("sign_in_ends")) and _is_near(str(ends)):
            when = iso_to_local(str(ends))
            found.append(f"the sign-in of transport {name} ends at {when}: `notify init --credentials FILE` renews it")
    if report.peers_source and (problem := report.peers_source.get("problem")):
        found.append("; ".join(worker_status.peer_source_notice(str(problem))))
    return found


def _mistakes(home: Home) -> list[str]:
    """What keeps the configuration from being used, in one text; nothing where there is none yet."""
    if not home.config.exists():
        return []
    from syftnotify.services.settings import load_reporting_all

    try:
        load_reporting_all(home)
    except NotifyError as error:
        return [str(error)]
    return []


def _is_near(moment: str) -> bool:
    try:
        return datetime.fromisoformat(moment).timestamp() - time.time() < _NEAR_SECONDS
    except ValueError:
        return False


def _fingerprint(home: Home) -> str:
    try:
        return fingerprint(home.config.read_bytes())
    except OSError:
        return ""


def _object(
    report: worker_status.WorkerStatus, pid: int | None, phase: Phase, ailments: list[str], notices: list[str]
) -> dict[str, Any]:
    held = phase in _AT_WORK
    is_scanning = phase is Phase.STARTING and report.total
    return {
        "running": held,
        "phase": phase.value,
        "progress": {"scanned": report.scanned, "total": report.total} if is_scanning else None,
        "killed_at": _last_report(report) if phase is Phase.KILLED else None,
        "pid": pid,
        "started_at": report.started_at if held else None,
        "version": report.version if held else __version__,
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
        "transports": report.transports,
        "peers_source": report.peers_source,
        "enabled": report.enabled,
        "watching": report.watching if held else False,
        "waiting_for": (report.waiting_for or None) if held else None,
        "unwell": ailments,
        "notices": notices,
    }


def _print(
    home: Home,
    report: worker_status.WorkerStatus,
    pid: int | None,
    phase: Phase,
    ailments: list[str],
    notices: list[str],
) -> None:
    held = phase in _AT_WORK
    word = _word(report, phase, is_unhealthy=bool(ailments))
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in [("worker", f"{word} (pid {pid})" if held else word), *_rows(report, held)]:
        table.add_row(name, Text(escape_block(value[:1000])))
    out.print(table)
    if not report.enabled:
        warn("notify.enabled is false: nothing is sent")
    if held and report.waiting_for:
        say(f"{report.waiting_for}; the first scan starts when it is there")
    for line in [*(f"unhealthy: {ailment}" for ailment in ailments), *notices]:
        warn(line)
    if not held:
        if notices:
            say(f"correct {home.config}, then run `notify start`")
        else:
            say(
                "run `notify start`"
                if home.config.exists()
                else f"there is no configuration in {home.root}; run `notify init`"
            )


def _word(report: worker_status.WorkerStatus, phase: Phase, *, is_unhealthy: bool) -> str:
    if phase is Phase.STOPPED:
        return "not running"
    if phase is Phase.KILLED:
        return f"not running; ended without stopping at {iso_to_local(_last_report(report) or '') or 'an unknown time'}"
    word = "running"
    if phase is Phase.STARTING:
        word = f"starting: scanned {report.scanned:,} of {plural(report.total, 'job')}" if report.total else "starting"
    return f"{word}, unhealthy" if is_unhealthy else word


def _last_report(report: worker_status.WorkerStatus) -> str | None:
    return iso(report.reported_s) if report.reported_s is not None and report.reported_s >= 0 else None


def _messages(report: worker_status.WorkerStatus) -> Iterator[tuple[str, str]]:
    failed = f" ({report.failed} after a failure)" if report.failed else ""
    items = f" ({plural(report.notifications, 'notification')})" if report.notifications != report.sent else ""
    yield "messages", f"{report.sent} sent{items}, {report.waiting} waiting{failed}, {report.dead} dead"
    if report.delayed:
        yield "", f"{plural(report.delayed, 'job')} of submitters with more than 100 events a minute: noticed later"
    if report.unknown:
        yield "", f"{plural(report.unknown, 'attempt')} of unknown outcome: the message may have arrived"
    if report.held:
        yield "", f"{plural(report.held, 'message')} of these held; `notify resend` sends them again"
    if report.withheld:
        yield "", f"{plural(report.withheld, 'message')} withheld, `notify history --state withheld` shows why"
    if report.dead:
        yield "", "`notify dead-letters` lists them, `notify resend` sends them again"


def _rows(report: worker_status.WorkerStatus, held: bool) -> Iterator[tuple[str, str]]:
    """Label and value of each line; empty ones are left out."""
    if held and report.started_at:
        yield "since", iso_to_local(report.started_at)
    yield "version", (report.version if held else "") or __version__
    yield "home", report.home
    if report.root:
        yield "SyftBox", report.root
    yield "known", f"{plural(report.jobs, 'job')}, {plural(report.peers, 'peer')}"
    yield "last scan", _last_scan(report)
    yield from _messages(report)
    if held:
        for name, transport in report.transports.items():
            yield (
                f"transport {escape(name)}",
                f"{transport.get('type')}, {transport.get('problem') or 'can send'}",
            )
    if report.last_error:
        yield "last error", report.last_error


def _last_scan(report: worker_status.WorkerStatus) -> str:
    seconds = report.last_scan["seconds"]
    if report.last_scan_s is None or seconds is None:
        return "never"
    ago = max(0.0, time.time() - report.last_scan_s)
    when = f"{ago:.0f} s ago" if ago < 3600 else local_time(report.last_scan_s)
    return f"{when}, took {seconds:.3f} s"
