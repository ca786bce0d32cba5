"""Checks of the clock, the disk, the limit of file watches, and of syft-bg on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.core.text import escape, hostname, local_time, plural
from syftnotify.services.doctor.findings import Finding, Level, graded
from syftnotify.services.doctor.transports import ServerTime
from syftnotify.services.readers import job_reader
from syftnotify.services.status import services_text, snapshot_path
from syftnotify.sources.syftbox.watch.limits import count_folders
from syftnotify.system import worker_status
from syftnotify.system.paths import Home
from syftnotify.system.syft_bg import NOTIFY, SYNC, syft_bg_in_use

_DISK_FAIL, _DISK_WARN = 20 * 2**20, 200 * 2**20  # bytes free
_SKEW_FAIL, _SKEW_WARN = 300.0, 60.0  # seconds; a sign-in fails if the clock is minutes off
_WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


def check_clock(
    home: Home, settings: Settings | None, clock: Callable[[], float], server_time: ServerTime
) -> Iterator[Finding]:
    """Compare the clock with the last scan and with a server."""
    now = clock()
    last_scan = worker_status.read(home).last_scan_s
    if last_scan is not None and last_scan - now > _SKEW_WARN:
        text = f"it is {last_scan - now:.0f} s before the last scan"
        yield Finding("clock", Level.WARN, text, "the clock was set back; check that it is right")
        return
    sections = settings.config.transports.values() if settings is not None else ()
    url = next((section.clock_url for section in sections if section.clock_url), "")
    reference = server_time(url) if url else None
    if reference is None:
        yield Finding("clock", Level.PASS, f"{local_time(now)}; not compared with a server's clock")
        return
    skew = abs(reference - now)
    level = Level.FAIL if skew > _SKEW_FAIL else Level.WARN if skew > _SKEW_WARN else Level.PASS
    advice = "set it, or enable NTP: a sign-in fails when the clock is minutes off"
    yield graded("clock", level, f"{skew:.0f} s from that of {hostname(url)}", advice)


def disk_level(free: int) -> Level:
    """The level for `free` bytes on the disk."""
    return Level.FAIL if free < _DISK_FAIL else Level.WARN if free < _DISK_WARN else Level.PASS


def check_disk(home: Home) -> Iterator[Finding]:
    folder = next((path for path in (home.root, *home.root.parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    advice = "free space: notifications are stored on the disk before they are sent"
    yield graded("disk", disk_level(free), f"{free / 2**20:,.0f} MB free", advice)


def check_watch_limit(settings: Settings) -> Iterator[Finding]:
    """Compare the number of folders to watch, one inotify watch each, with the system's limit."""
    if settings.config.notify.watch == "off" or not _WATCH_LIMIT.exists():
        return
    try:
        limit = int(_WATCH_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    count = 0
    try:
        for folder in job_reader(settings).job_folders():
            count += count_folders(folder, limit - count)
    except RuntimeError as error:
        advice = "remove these folders; until then the worker only scans every `notify.interval`"
        yield Finding("watching", Level.WARN, escape(str(error)), advice)
        return
    level = Level.WARN if count > limit / 2 else Level.PASS
    text = f"{plural(count, 'folder')} to watch, the system allows {limit:,} watches"
    yield graded("watching", level, text, "raise fs.inotify.max_user_watches, or set `notify.watch: off`")


def check_syft_bg(home: Home) -> Iterator[Finding]:
    """Whether those services of syft-bg run that have to, and only those."""
    found = syft_bg_in_use(snapshot_path(worker_status.read(home)))
    if found is None:
        return
    services = found.services()
    if pid := services[NOTIFY]:
        text = f"its notify service runs here too (pid {pid})"
        yield Finding("syft-bg", Level.WARN, text, "run `syft-bg stop notify`: each mail is sent twice")
    elif services.get(SYNC, 0) is None:
        text = "its sync service is stopped: it brings jobs and peers to this machine"
        yield Finding("syft-bg", Level.WARN, text, "run `syft-bg start sync`")
    else:
        yield Finding("syft-bg", Level.PASS, services_text(services))
