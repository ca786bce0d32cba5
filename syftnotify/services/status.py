"""The status of a worker, from `worker.json` and the lock alone, so that it is available at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from syftnotify import __version__
from syftnotify.core.errors import NotifyError
from syftnotify.core.text import age_text, iso, iso_to_local, timestamp
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.files import fingerprint
from syftnotify.system.paths import Home
from syftnotify.system.syft_bg import syft_bg_in_use
from syftnotify.system.worker_status import Phase, WorkerStatus

_ACTIVE = frozenset({Phase.STARTING, Phase.RUNNING})
SIGN_IN_WARNING_SECONDS = 2 * 86400.0  # before a sign-in ends


class RunState(IntEnum):
    """Whether a worker runs; the values are the exit codes of `notify status`."""

    RUNNING = 0
    NOT_RUNNING = 3
    UNHEALTHY = 4


@dataclass(frozen=True, slots=True)
class HomeStatus:
    """The status of the worker of a home, or of the last one if none is running."""

    home: Home
    report: WorkerStatus  # the content of `worker.json`
    pid: int | None
    phase: Phase
    health_problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()  # warnings that do not make it unhealthy, or why it cannot start
    syft_bg: Mapping[str, int | None] = field(default_factory=dict)  # pids of its services, as `SyftBgHome.services`

    @property
    def is_running(self) -> bool:
        return self.phase in _ACTIVE

    @property
    def run_state(self) -> RunState:
        if not self.is_running:
            return RunState.NOT_RUNNING
        return RunState.UNHEALTHY if self.health_problems else RunState.RUNNING

    @property
    def version(self) -> str:
        """The version of the running worker; otherwise the installed one."""
        return (self.report.version if self.is_running else "") or __version__

    @property
    def reported_at(self) -> str | None:
        """The ISO time of the last report."""
        seconds = self.report.reported_s
        return iso(seconds) if seconds is not None and seconds >= 0 else None

    @property
    def is_scanning(self) -> bool:
        """Whether the first scan is in progress and its size is known."""
        return self.phase is Phase.STARTING and self.report.total > 0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What the worker of a home reports, for monitoring. It is read without the configuration, so it is cheap."""

    is_running: bool
    is_healthy: bool
    scans: int  # since the start of the worker
    scan_seconds: float | None  # of the last scan
    scanned_at: float | None  # in seconds since 1970
    jobs: int
    peers: int
    transports: Mapping[str, bool]  # whether each can send

    @classmethod
    def read(cls, home: Home) -> WorkerReport:
        report, _, phase = worker_lock.current_status(home)
        is_running = phase in _ACTIVE
        problems = worker_status.health_problems(report, time.time(), lock_lost=worker_lock.is_lock_lost(home))
        return cls(
            is_running=is_running,
            is_healthy=is_running and not problems,
            scans=report.scans,
            scan_seconds=report.last_scan["seconds"],
            scanned_at=report.last_scan_s,
            jobs=report.jobs,
            peers=report.peers,
            transports={name: bool(transport.get("can_send")) for name, transport in report.transports.items()},
        )


def read_status(home: Home) -> HomeStatus:
    """The status of the worker of `home`."""
    report, pid, phase = worker_lock.current_status(home)
    syft_bg = syft_bg_in_use(snapshot_path(report))
    services = syft_bg.services() if syft_bg is not None else {}
    if phase not in _ACTIVE:
        return HomeStatus(home, report, pid, phase, notices=tuple(_config_errors(home)), syft_bg=services)
    lock_lost = worker_lock.is_lock_lost(home)
    problems = worker_status.health_problems(report, time.time(), lock_lost=lock_lost)
    return HomeStatus(home, report, pid, phase, tuple(problems), tuple(_notices(home, report)), services)


def syft_bg_lines(status: HomeStatus, now: float) -> Iterator[tuple[str, str]]:
    """Label and text about the services of syft-bg and the sync snapshot in use; nothing where it is not set up.

    `now` is in seconds since 1970.
    """
    if status.syft_bg:
        yield "syft-bg", services_text(status.syft_bg)
    source = status.report.peers_source
    if source and (path := snapshot_path(status.report)):
        synced_at = timestamp(str(source.get("synced_at")))
        age = "never synced" if synced_at is None else f"synced {age_text(now - synced_at)} ago"
        yield "peers from", f"{path}, {age}"


def services_text(services: Mapping[str, int | None]) -> str:
    """Which services of syft-bg run: `sync runs (pid 12), notify is stopped`."""
    return ", ".join(f"{name} {f'runs (pid {pid})' if pid else 'is stopped'}" for name, pid in services.items())


def snapshot_path(report: WorkerStatus) -> str | None:
    """The path of the sync snapshot that the worker reads, if there is one."""
    path = (report.peers_source or {}).get("path")
    return path if isinstance(path, str) else None


def _notices(home: Home, report: WorkerStatus) -> list[str]:
    found = list(report.warnings)
    if report.config and report.config != _config_fingerprint(home):
        found += _config_errors(home) or ["the configuration has changed since the start; run `notify restart`"]
    if report.version and report.version != __version__:
        found.append(f"version {__version__} is installed, {report.version} is running; run `notify restart`")
    for name, transport in report.transports.items():
        if (ends := transport.get("sign_in_ends")) and _ends_soon(str(ends)):
            text = f"the sign-in of transport {name} ends at {iso_to_local(str(ends))}"
            found.append(f"{text}; run `notify init --credentials FILE`")
    return [*found, *peer_notices(report)]


def peer_notices(report: WorkerStatus) -> Iterator[str]:
    """The notice that peers cannot be read, if so, and what to do about it."""
    if report.peers_source and (problem := report.peers_source.get("problem")):
        yield "; ".join(worker_status.peer_source_notice(str(problem)))


def _config_errors(home: Home) -> list[str]:
    """Why the configuration cannot be used, one text at most; empty if it can, or if there is none yet."""
    if not home.config.exists():
        return []
    from syftnotify.services.settings import load_reporting_all  # slow, and seldom needed

    try:
        load_reporting_all(home)
    except NotifyError as error:
        return [str(error)]
    return []


def _ends_soon(moment: str) -> bool:
    try:
        return datetime.fromisoformat(moment).timestamp() - time.time() < SIGN_IN_WARNING_SECONDS
    except ValueError:
        return False


def _config_fingerprint(home: Home) -> str:
    try:
        return fingerprint(home.config.read_bytes())
    except OSError:
        return ""
