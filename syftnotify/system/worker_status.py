"""The lock of a home and `worker.json`: whether a worker runs, and what it reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from syftnotify.system.files import atomic_write, read_regular_file
from syftnotify.system.paths import Home
from syftnotify.system.procinfo import is_alive, is_worker

# A worker is unhealthy after three intervals without a scan, and never sooner than this.
_LEAST_SILENCE = 30.0
_FAILURES = 3  # of one step in a row; fewer may be temporary
_STUCK_SECONDS = 600.0  # without progress of a first scan; as the watchdog of systemd
_MAX_NUMBER = 1e11  # no number of ours is larger; as a time it is the year 5138


class Phase(StrEnum):
    """What a worker is doing, or how the last one ended."""

    STARTING = "starting"  # the first scan is not finished
    RUNNING = "running"
    STOPPED = "stopped"
    KILLED = "killed"  # it ended without stopping


@dataclass(slots=True)
class WorkerStatus:
    """What the holder of the lock wrote about itself: information, never proof.

    Times are ISO 8601 in UTC, or seconds since 1970 where the name ends in `_s`.
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
    last_look_s: float | None = None  # the last look that noted what was new
    waiting: int = 0
    sent: int = 0  # messages
    notifications: int = 0  # in those messages
    failed: int = 0
    unknown: int = 0
    held: int = 0
    withheld: int = 0
    dead: int = 0
    unacknowledged: int = 0  # dead letters
    vanished: str = ""  # the folder that was there and is not any more, and since when
    delayed: int = 0  # jobs of submitters who cause more events than the limit per minute
    last_error: str | None = None
    transports: dict[str, dict[str, Any]] = field(default_factory=dict)
    # The sync snapshot of syft-bg in use: path, synced_at, usable, problem; None where peers are not monitored by one.
    peers_source: dict[str, Any] | None = None
    enabled: bool = True
    interval: float = 30.0
    watching: bool = False
    warnings: list[str] = field(default_factory=list)  # about the configuration in use
    waiting_for: str = ""
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)  # by step of the loop: "count" in a row, "error"
    damage: str = ""
    unreadable_alerts: int = 0  # alert rules whose address cannot be decrypted
    config: str = ""  # fingerprint of the configuration in use
    phase: str = "running"  # a Phase
    scanned: int = 0  # by the first scan: jobs read so far, of `total`
    total: int = 0
    reported_s: float | None = None  # when this was written
    ended: str = ""  # how it ended, if it did so in order


def read(home: Home) -> WorkerStatus:
    """The last report of `home`; what cannot be read, or is of a wrong type, is as if it had not been written."""
    report = WorkerStatus(home=str(home.root))
    try:
        loaded = json.loads(read_regular_file(home.worker_status), parse_constant=_reject_constant)
    except (OSError, ValueError, RecursionError):
        return report
    if not isinstance(loaded, dict):
        return report
    for item in fields(WorkerStatus):
        if item.name in loaded and item.name != "home" and _fits(item.name, item.type, loaded[item.name]):
            setattr(report, item.name, loaded[item.name])
    return report


def _reject_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _fits(name: str, kind: Any, value: Any) -> bool:
    """Whether `value` may stand in the field `name`, whose annotation is `kind`."""
    if name == "last_scan":
        return (
            isinstance(value, dict)
            and value.keys() >= {"at", "seconds"}
            and _fits("", "str | None", value["at"])
            and _fits("", "float | None", value["seconds"])
        )
    if name == "warnings":
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if name == "peers_source":
        return value is None or (isinstance(value, dict) and isinstance(value.get("problem"), str | None))
    if name == "transports":
        return isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values())
    if name == "failures":
        return isinstance(value, dict) and all(
            isinstance(inner, dict) and _fits("", "int", inner.get("count")) and isinstance(inner.get("error"), str)
            for inner in value.values()
        )
    if name == "phase":
        return isinstance(value, str) and value in set(Phase)
    types = {"int": (int,), "str": (str,), "float": (int, float), "bool": (bool,), "None": (type(None),)}
    if isinstance(value, int | float) and not -_MAX_NUMBER < value < _MAX_NUMBER:
        return False
    allowed = tuple(each for word in str(kind).split(" | ") for each in types[word])
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def write(home: Home, report: WorkerStatus) -> None:
    """Replace the report. Raises: OSError."""
    atomic_write(home.worker_status, json.dumps(asdict(report), indent=1).encode("utf-8"), durable=False)


def reported_pid(home: Home) -> int | None:
    """The pid in the report, while that process is a worker of `home`."""
    report = read(home)
    if report.pid is None or report.ended or not is_alive(report.pid):
        return None
    return report.pid if is_worker(report.pid, home.root) else None


def health_problems(report: WorkerStatus, now: float, *, lock_lost: bool = False) -> list[str]:
    """Why a running worker is unhealthy, in words; empty when it is healthy."""
    checks = (
        ["its lock file was removed or replaced: run `notify restart`"] if lock_lost else [],
        _scan_overdue(report, now),
        (
            f"its last {found['count']} {_plural_of(step)} failed: {found['error']}"
            for step, found in report.failures.items()
            if found["count"] >= _FAILURES
        ),
        [report.damage] if report.damage else [],
        [report.vanished] if report.vanished else [],
        _dead_letters(report),
        ["alert rules have an address that cannot be decrypted: `notify alerts list` names them"]
        if report.unreadable_alerts
        else [],
        (
            f"transport {name}: {transport['problem']}"
            for name, transport in report.transports.items()
            if transport.get("problem")
        ),
    )
    return [text for found in checks for text in found]


def _scan_overdue(report: WorkerStatus, now: float) -> Iterator[str]:
    limit = max(_LEAST_SILENCE, 3 * report.interval)
    if report.phase == Phase.STARTING:
        if report.reported_s is None:
            yield "it has not written worker.json yet: see `notify logs --level warning` if this stays so"
        elif now - report.reported_s > _STUCK_SECONDS:
            yield f"its first scan has made no progress for {now - report.reported_s:.0f} s"
    elif report.last_scan_s is not None and now - report.last_scan_s > limit:
        yield f"it has not looked for {now - report.last_scan_s:.0f} s"


def _dead_letters(report: WorkerStatus) -> Iterator[str]:
    if report.unacknowledged:
        count = f"{report.unacknowledged} dead letter{'s' if report.unacknowledged > 1 else ''}"
        yield f"{count} not acknowledged: `notify dead-letters` lists them"


def _plural_of(step: str) -> str:
    plurals = {
        "scan": "scans",
        "watch": "attempts to watch folders",
        "health": "health checks",
        "delivery": "attempts to read the outbox",
    }
    return plurals.get(step, f"{step} steps")


def peer_source_notice(problem: str) -> tuple[str, str]:
    """The notice of status and doctor when there is no usable sync snapshot, and what to do."""
    advice = "run syft-bg with its sync service (`syft-bg start`), or set `notify.sync_state_path`"
    return f"peer notifications cannot be sent: {problem}", advice
