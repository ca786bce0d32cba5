"""The status file `worker.json`: what a worker reports about itself, and the health problems that follow from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from syftnotify.core.text import plural
from syftnotify.system.files import atomic_write, read_regular_file
from syftnotify.system.paths import Home
from syftnotify.system.procinfo import is_alive, is_worker

# A worker is unhealthy after this many intervals without a scan, and not before this many seconds.
_MAX_MISSED_INTERVALS = 3
_MIN_OVERDUE_SECONDS = 30.0
_UNHEALTHY_FAILURES = 3  # of one step in a row; fewer may be temporary
_STUCK_SECONDS = 600.0  # without progress of the first scan; the same time as systemd's watchdog
_MAX_NUMBER = 1e11  # no stored number is larger; as a timestamp it is the year 5138


# Whether a worker scans its tree, if several workers share it.
LEADER, STANDBY = "leader", "standby"


class Phase(StrEnum):
    """What a worker is doing, or how the last one ended."""

    STARTING = "starting"  # the first scan is not finished
    RUNNING = "running"
    STOPPED = "stopped"
    KILLED = "killed"  # it ended without stopping


@dataclass(slots=True)
class WorkerStatus:
    """The content of `worker.json`: information, never proof; only the lock proves that a worker runs.

    Times are ISO 8601 in UTC, or seconds since 1970 where the name ends in `_s`. The field names are the keys of
    `worker.json`.
    """

    pid: int | None = None
    started_at: str | None = None
    version: str = ""
    home: str = ""
    root: str | None = None
    jobs: int = 0
    peers: int = 0
    last_scan: dict[str, Any] = field(default_factory=lambda: {"at": None, "seconds": None})
    last_scan_s: float | None = None
    scans: int = 0  # since this worker's start
    last_look_s: float | None = None  # the last scan whose events were recorded
    waiting: int = 0
    sent: int = 0  # messages
    notifications: int = 0  # in the messages sent
    failed: int = 0
    unknown: int = 0
    held: int = 0
    withheld: int = 0
    dead: int = 0
    unacknowledged: int = 0  # dead letters
    database: str = ""  # address of the database that several workers share, without password; empty: a file
    role: str = ""  # `LEADER` or `STANDBY`, if there is a database
    api: str = ""  # address of the API; empty: it is not served
    api_problem: str = ""  # why it is not, although it should be
    vanished: str = ""  # the folder that disappeared, and since when
    delayed: int = 0  # jobs of submitters who exceed the limit of events per minute
    last_error: str | None = None
    last_error_at: str | None = None  # ISO 8601
    transports: dict[str, dict[str, Any]] = field(default_factory=dict)
    # The sync snapshot of syft-bg in use: path, synced_at, usable, problem; None if peers are not read from one.
    peers_source: dict[str, Any] | None = None
    enabled: bool = True
    interval: float = 30.0
    watching: bool = False
    warnings: list[str] = field(default_factory=list)  # about the configuration in use
    waiting_for: str = ""  # what must exist before there is anything to scan, such as the SyftBox folder
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)  # by step: "count" in a row, "error"
    damage: str = ""  # what was wrong with the ledger or the outbox when it was opened
    unreadable_alerts: int = 0  # alert rules whose address cannot be decrypted
    config: str = ""  # fingerprint of the configuration in use
    phase: str = "running"  # a Phase
    scanned: int = 0  # jobs that the first scan has read, of `total`
    total: int = 0
    reported_s: float | None = None  # when this was written
    ended: str = ""  # how the worker ended; empty while it runs, and if it was killed


def read(home: Home) -> WorkerStatus:
    """The stored status of `home`; fields that cannot be read, or have a wrong type, keep their defaults."""
    status = WorkerStatus(home=str(home.root))
    stored = _stored_object(home)
    for item in fields(WorkerStatus):
        if item.name in stored and item.name != "home" and _is_valid(item.name, str(item.type), stored[item.name]):
            setattr(status, item.name, stored[item.name])
    return status


def write(home: Home, status: WorkerStatus) -> None:
    """Replace the stored status.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(home.worker_status, json.dumps(asdict(status), indent=1).encode("utf-8"), durable=False)


def reported_pid(home: Home) -> int | None:
    """The stored pid, if that process is a running worker of `home`."""
    status = read(home)
    if status.pid is None or status.ended or not is_alive(status.pid):
        return None
    return status.pid if is_worker(status.pid, home.root) else None


def _stored_object(home: Home) -> Mapping[str, Any]:
    try:
        loaded = json.loads(read_regular_file(home.worker_status), parse_constant=_reject_constant)
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")  # NaN and Infinity, which Python's reader accepts


def _is_valid(name: str, annotation: str, value: Any) -> bool:
    check = _CHECKS.get(name)
    return check(value) if check else _has_type(annotation, value)


def _has_type(annotation: str, value: Any) -> bool:
    """Whether `value` is of a union of simple types such as `float | None`, and a number of a plausible size."""
    if isinstance(value, int | float) and not -_MAX_NUMBER < value < _MAX_NUMBER:
        return False
    allowed = tuple(each for name in annotation.split(" | ") for each in _TYPES[name])
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def _is_last_scan(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() >= {"at", "seconds"}
        and _has_type("str | None", value["at"])
        and _has_type("float | None", value["seconds"])
    )


def _is_failure(value: Any) -> bool:
    return isinstance(value, dict) and _has_type("int", value.get("count")) and isinstance(value.get("error"), str)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": (int, float),
    "bool": (bool,),
    "None": (type(None),),
}
# Fields whose type is more than a union of simple ones.
_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "last_scan": _is_last_scan,
    "warnings": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "peers_source": lambda value: (
        value is None or (isinstance(value, dict) and isinstance(value.get("problem"), str | None))
    ),
    "transports": lambda value: isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()),
    "failures": lambda value: isinstance(value, dict) and all(map(_is_failure, value.values())),
    "phase": lambda value: isinstance(value, str) and value in set(Phase),
}


def health_problems(status: WorkerStatus, now: float, *, lock_lost: bool = False) -> list[str]:
    """The reasons why a running worker is unhealthy; empty if it is healthy.

    `now` is in seconds since 1970; `lock_lost` is `worker_lock.is_lock_lost`.
    """
    return list(_health_problems(status, now, lock_lost=lock_lost))


def _health_problems(status: WorkerStatus, now: float, *, lock_lost: bool) -> Iterator[str]:
    if lock_lost:
        yield "the lock file was removed or replaced; run `notify restart`"
    yield from _overdue_scan(status, now)
    yield from _repeated_failures(status)
    yield from filter(None, (status.damage, status.vanished))
    if status.unacknowledged:
        yield f"{plural(status.unacknowledged, 'dead letter')} not acknowledged; run `notify dead-letters`"
    if status.unreadable_alerts:
        yield "alert rules have an address that cannot be decrypted; run `notify alerts list`"
    if status.api_problem:
        yield f"the API is not served: {status.api_problem}"
    for name, transport in status.transports.items():
        if transport.get("problem"):
            yield f"transport {name}: {transport['problem']}"


def _overdue_scan(status: WorkerStatus, now: float) -> Iterator[str]:
    limit = max(_MIN_OVERDUE_SECONDS, _MAX_MISSED_INTERVALS * status.interval)
    if status.phase == Phase.STARTING:
        if status.reported_s is None:
            yield "worker.json is not written yet; if this persists, run `notify logs --level warning`"
        elif now - status.reported_s > _STUCK_SECONDS:
            yield f"the first scan has made no progress for {now - status.reported_s:.0f} s"
    elif status.last_scan_s is not None and now - status.last_scan_s > limit:
        yield f"no scan for {now - status.last_scan_s:.0f} s"


def _repeated_failures(status: WorkerStatus) -> Iterator[str]:
    for step, failure in status.failures.items():
        if failure["count"] >= _UNHEALTHY_FAILURES:
            yield f"the last {failure['count']} {_PLURALS.get(step, f'{step} steps')} failed: {failure['error']}"


_PLURALS = {
    "scan": "scans",
    "watch": "attempts to watch folders",
    "health": "health checks",
    "delivery": "attempts to read the outbox",
}


def peer_source_notice(problem: str) -> tuple[str, str]:
    """The notice for a missing or unusable sync snapshot, and what to do about it."""
    advice = "run `syft-bg start sync`, set `notify.sync_state_path`, or run `notify init --no-notify-peers`"
    return f"peer notifications cannot be sent: {problem}", advice
