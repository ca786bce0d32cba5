"""The checks of `notify doctor`. None of them changes anything."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.core.errors import NotifyError, StateError
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import escape, hostname, local_time, plural
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.services.findings import Finding, Level
from syftnotify.services.readers import job_reader, peer_reader, syft_bg_pid
from syftnotify.services.settings import load_reporting_all
from syftnotify.services.transport_checks import ServerTime, check_alert_targets, check_quota, check_transports
from syftnotify.sources.syftbox.watch.limits import count_folders
from syftnotify.store.ledger.state_file import find_corruption
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.locks import supports_locks
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home
from syftnotify.system.permissions import foreign_owner, permission_warning
from syftnotify.transports import ping

_DAY = 86400.0
_MIN_DISK, _LOW_DISK = 20 * 2**20, 200 * 2**20  # bytes
_MAX_SKEW, _LOW_SKEW = 300.0, 60.0  # seconds; a sign-in fails if the clock is minutes off
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


def findings(home: Home, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """All checks of `home`. Those that need a valid configuration are left out without one."""
    try:
        home.config.exists()
    except OSError as error:
        text = f"{home.root} cannot be read: {error.strerror}"
        yield Finding("home", Level.FAIL, text, "give yourself the permission, or choose another `--home`")
        return
    yield from _home(home)
    settings: Settings | None = None
    server_time = cache(ping.server_time)  # one request per URL
    try:
        settings = load_reporting_all(home)
    except NotifyError as error:
        yield Finding("config", Level.FAIL, str(error), error.hint)
    else:
        for warning in settings.warnings:
            yield Finding("config", Level.WARN, warning)
        yield Finding("config", Level.PASS, f"{home.config} holds, for {settings.config.do_email}")
        if not settings.config.notify.enabled:
            yield Finding("config", Level.WARN, "nothing is sent", "set `notify.enabled: true`")
        yield from _root(settings)
        yield from _peers(settings, clock)
        yield from check_transports(settings, clock, server_time)
        yield from _templates(home)
    yield from _clock(home, settings, clock, server_time)
    yield from _disk(home)
    yield from _lock(home, clock)
    yield from _state(home, settings, clock)
    if settings is not None:
        yield from _watches(settings)
    if pid := syft_bg_pid():
        yield Finding(
            "syft-bg",
            Level.WARN,
            f"its notify service runs here too (pid {pid})",
            "end one of the two: every mail comes twice",
        )


def _home(home: Home) -> Iterator[Finding]:
    if not home.root.is_dir():
        yield Finding("home", Level.FAIL, f"there is no {home.root}", "`notify init` makes it")
        return
    try:
        check_home(home)
    except NotifyError as error:
        yield Finding("home", Level.FAIL, str(error), error.hint)
        return
    if not os.access(home.root, os.W_OK | os.X_OK):
        yield Finding("home", Level.FAIL, f"{home.root} cannot be written", "see that it is yours and not read-only")
        return
    yield from _misplaced(home)
    own = [path for path in (home.state, home.outbox, home.log, home.worker_status) if path.is_file()]
    problems = [found for path in own if (found := foreign_owner(path))]
    problems += [
        (text, advice) for path in own for text, said, advice in [permission_warning(path).rpartition(": run ")] if said
    ]
    for text, advice in problems:
        yield Finding("home", Level.WARN, text, advice)
    if not problems:
        yield Finding("home", Level.PASS, f"{home.root} is yours alone")


def _misplaced(home: Home) -> Iterator[Finding]:
    """Folders in the place of the worker's files, and files in the place of its folders."""
    wrong = [
        (path, "not a file" if not path.is_dir() else "a folder, but the worker keeps a file there")
        for path in (home.lock, home.log, home.worker_status, home.state, home.outbox)
        if os.path.exists(path) and not path.is_file()  # noqa: PTH110 - unlike Path.exists it never raises
    ]
    if os.path.lexists(home.spool) and not home.spool.is_dir():
        wrong.append((home.spool, "not a folder, but emitted events are kept there"))
    for path, what in wrong:
        yield Finding("home", Level.FAIL, f"{path} is {what}", f"move it away: `mv {path} {path}.old`")


def _root(settings: Settings) -> Iterator[Finding]:
    root, owner = settings.root, settings.config.do_email
    try:
        there = root.is_dir()
        is_file = not there and root.exists()
        readable = there and os.access(root, os.R_OK | os.X_OK)
    except OSError:
        there = is_file = readable = False
    if is_file:
        yield Finding("SyftBox", Level.FAIL, f"{root} is not a folder", "set `syftbox_root` to the SyftBox folder")
        return
    if not there:
        yield Finding(
            "SyftBox", Level.WARN, f"{root} does not exist yet", "the worker waits for it; or set `syftbox_root`"
        )
        return
    if not readable:
        yield Finding("SyftBox", Level.FAIL, f"{root} cannot be read", "give yourself the right to")
        return
    folders = job_reader(settings).job_folders()
    if folders:
        owner_suffix = f"of {owner}" if settings.config.role == "owner" else f"to which {owner} may have submitted"
        yield Finding("SyftBox", Level.PASS, f"{root} has {plural(len(folders), 'job folder')} {owner_suffix}")
    elif settings.config.role == "scientist":
        yield Finding("SyftBox", Level.PASS, f"{root} has no job folder of any data owner yet")
    else:
        yield Finding(
            "SyftBox",
            Level.WARN,
            f"{root} has no job folder of {owner}",
            "see that `do_email` is the address you use there",
        )


def _peers(settings: Settings, clock: Callable[[], float]) -> Iterator[Finding]:
    """The sync snapshot, which lists the peers."""
    if not settings.config.notify.monitor_peers:
        return
    reader = peer_reader(settings, clock)
    count = len(reader.scan())
    status = reader.status
    if status is None:  # on a scientist's machine
        return
    if status.problem:
        text, advice = worker_status.peer_source_notice(status.problem)
        yield Finding("peers", Level.WARN, text, advice)
        return
    yield Finding("peers", Level.PASS, f"{plural(count, 'peer')}, by the sync snapshot in {status.path}")


def _templates(home: Home) -> Iterator[Finding]:
    if not home.templates.is_dir():
        return
    mistakes = TemplateRenderer(home.templates).errors()
    for name, what in mistakes.items():
        yield Finding(
            "templates",
            Level.FAIL,
            f"{escape(name)}: {escape(what)}",
            f"mend it below {home.templates}",
        )
    if not mistakes:
        yield Finding("templates", Level.PASS, f"those in {home.templates} can be used")


def _clock(
    home: Home, settings: Settings | None, clock: Callable[[], float], server_time: ServerTime
) -> Iterator[Finding]:
    now = clock()
    last = worker_status.read(home).last_scan_s
    if last is not None and last - now > _LOW_SKEW:
        yield Finding(
            "clock",
            Level.WARN,
            f"it stands {last - now:.0f} s before the last scan",
            "it was set back: see that it is right",
        )
        return
    sections = settings.config.transports.values() if settings is not None else ()
    url = next((section.clock_url for section in sections if section.clock_url), "")
    theirs = server_time(url) if url else None
    if theirs is None:
        yield Finding("clock", Level.PASS, f"{local_time(now)}; not compared with a server's clock")
        return
    skew = abs(theirs - now)
    level = Level.FAIL if skew > _MAX_SKEW else Level.WARN if skew > _LOW_SKEW else Level.PASS
    yield Finding(
        "clock",
        level,
        f"{skew:.0f} s from that of {hostname(url)}",
        "" if level is Level.PASS else "set it, or let it be set (NTP): a sign-in fails when it is minutes off",
    )


def disk_level(free: int) -> Level:
    """The level for `free` bytes on the disk."""
    return Level.FAIL if free < _MIN_DISK else Level.WARN if free < _LOW_DISK else Level.PASS


def _disk(home: Home) -> Iterator[Finding]:
    place = next((path for path in (home.root, *home.root.parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    level = disk_level(free)
    yield Finding(
        "disk",
        level,
        f"{free / 2**20:,.0f} MB free",
        "" if level is Level.PASS else "make room: what is owed is written down",
    )


def _lock(home: Home, clock: Callable[[], float]) -> Iterator[Finding]:
    if not home.root.is_dir():
        return
    if not supports_locks(home.root):
        yield Finding("lock", Level.FAIL, f"{home.root} knows no file locks", "put `--home` on a local disk")
        return
    yield Finding("lock", Level.PASS, "file locks hold here")
    if not worker_lock.is_held(home):
        yield Finding("worker", Level.WARN, "not running", "`notify start`, or `notify ensure` from cron")
        return
    ailments = worker_status.health_problems(
        worker_status.read(home), clock(), lock_lost=worker_lock.is_lock_lost(home)
    )
    for ailment in ailments:
        yield Finding("worker", Level.WARN, f"unhealthy: {ailment}", "`notify logs --level warning` says more")
    if not ailments:
        yield Finding("worker", Level.PASS, f"running (pid {worker_lock.holder_pid(home)})")


def _state(home: Home, settings: Settings | None, clock: Callable[[], float]) -> Iterator[Finding]:
    if home.state.is_file():
        problem = find_corruption(home.state)
        if problem:
            yield Finding("state", Level.FAIL, problem, "`notify restart` takes the last good copy")
        else:
            yield Finding("state", Level.PASS, f"{home.state.name} is whole")
    if not home.outbox.is_file():
        return
    try:
        with _opened(home) as outbox:
            what = outbox.check()
            counts = outbox.history.counts(holding=settings.holding if settings else ())
            today = outbox.history.sent_since(clock() - _DAY)
            alerts = outbox.alert_rules.all()
    except StateError as error:
        yield Finding("outbox", Level.FAIL, str(error), error.hint)
        return
    yield from check_alert_targets(home, settings, alerts)
    if what:
        yield Finding(
            "outbox", Level.FAIL, f"{home.outbox.name} is damaged: {escape(what)}", "`notify restart` mends it"
        )
    else:
        yield Finding("outbox", Level.PASS, f"{home.outbox.name} is whole; {_summary(counts)}")
    if counts.dead or counts.held:
        text = f"{plural(counts.dead, 'dead letter')}, {counts.held} held"
        yield Finding("outbox", Level.WARN, text, "`notify dead-letters` lists them, `notify resend` sends them again")
    if settings is not None:
        yield from check_quota(settings, len(today))


@contextmanager
def _opened(home: Home) -> Iterator[SqliteOutbox]:
    with closing(SqliteOutbox(home.outbox, repair=False)) as outbox:
        yield outbox


def _summary(counts: OutboxCounts) -> str:
    withheld = f", {counts.withheld} withheld" if counts.withheld else ""
    return f"{counts.waiting} waiting, {counts.sent} sent, {counts.unknown} of unknown outcome{withheld}"


def _watches(settings: Settings) -> Iterator[Finding]:
    """The kernel's limit of watches; each folder of jobs needs one."""
    if settings.config.notify.watch == "off" or not _WATCHES.exists():
        return
    try:
        limit = int(_WATCHES.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    count = 0
    try:
        for folder in job_reader(settings).job_folders():
            count += count_folders(folder, limit - count)
    except RuntimeError as error:
        advice = "see what it is and remove it; until then the worker only scans every `notify.interval`"
        yield Finding("watching", Level.WARN, escape(str(error)), advice)
        return
    level = Level.WARN if count > limit / 2 else Level.PASS
    yield Finding(
        "watching",
        level,
        f"{plural(count, 'folder')} to watch, the system allows {limit:,} watches",
        "" if level is Level.PASS else "raise fs.inotify.max_user_watches, or set `notify.watch: off`",
    )
