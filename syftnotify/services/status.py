"""The status of a worker, from `worker.json` and the lock alone, so that it is available at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from syftnotify import __version__
from syftnotify.core.errors import NotifyError
from syftnotify.core.text import iso, iso_to_local
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.files import fingerprint
from syftnotify.system.paths import Home
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


def read_status(home: Home) -> HomeStatus:
    """The status of the worker of `home`."""
    report, pid, phase = worker_lock.current_status(home)
    if phase not in _ACTIVE:
        return HomeStatus(home, report, pid, phase, notices=tuple(_config_errors(home)))
    lock_lost = worker_lock.is_lock_lost(home)
    problems = worker_status.health_problems(report, time.time(), lock_lost=lock_lost)
    return HomeStatus(home, report, pid, phase, tuple(problems), tuple(_notices(home, report)))


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
    if report.peers_source and (problem := report.peers_source.get("problem")):
        found.append("; ".join(worker_status.peer_source_notice(str(problem))))
    return found


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
