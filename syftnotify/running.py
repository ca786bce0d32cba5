"""Is somebody at work in this home, and what do they say of themselves? The lock, and `worker.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from syftnotify.errors import AlreadyRunningError, NotifyError
from syftnotify.files import exclusive, write_whole
from syftnotify.paths import Home

# Somebody who only asks whether the lock is held holds it for an instant; a worker that starts waits that out.
_PATIENCE = 1.0
# A worker is unwell after three intervals without a look, and never sooner than this.
_LEAST_SILENCE = 30.0
_FAILED_LOOKS = 3


@dataclass(slots=True)
class Report:
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
    sent: int = 0
    failed: int = 0
    unknown: int = 0
    dead: int = 0
    last_error: str | None = None
    transports: dict[str, dict[str, Any]] = field(default_factory=dict)
    enabled: bool = True
    interval: float = 30.0
    watching: bool = False
    waiting_for: str = ""
    failed_looks: int = 0
    damage: str = ""
    config: str = ""  # fingerprint of the configuration in use
    ended: str = ""  # how it ended, when it said good-bye


def read(home: Home) -> Report:
    """The last report of `home`; an empty one where there is none that can be read."""
    try:
        loaded = json.loads(home.worker.read_bytes())
    except (OSError, ValueError):
        return Report(home=str(home.root))
    known = {item.name for item in fields(Report)}
    report = Report(home=str(home.root))
    if isinstance(loaded, dict):
        for key in known & loaded.keys():
            setattr(report, key, loaded[key])
    return report


def write(home: Home, report: Report) -> None:
    """Replace the report. Raises: OSError."""
    write_whole(home.worker, json.dumps(asdict(report), indent=1).encode("utf-8"), durable=False)


@contextmanager
def hold(home: Home, *, seconds: float = _PATIENCE) -> Iterator[None]:
    """Be the one worker of `home` while the block runs.

    Raises:
        AlreadyRunningError: somebody else is.
        NotifyError: the home cannot be written.
    """
    try:
        home.create()
        with exclusive(home.lock, seconds=seconds) as held:
            if not held:
                raise AlreadyRunningError(_written_pid(home))
            home.lock.write_text(f"{os.getpid()}\n", encoding="ascii")
            yield
    except PermissionError as error:
        raise NotifyError(
            f"{home.root} cannot be written: {error.strerror}", hint="see that it is yours, or choose another `--home`"
        ) from error


def is_held(home: Home) -> bool:
    """Whether a worker is running in `home`."""
    if not home.lock.exists():
        return False
    try:
        with exclusive(home.lock, seconds=0) as held:
            return not held
    except OSError:
        return False


def holder(home: Home) -> int | None:
    """The pid of the running worker, as far as it is known; None when none is running."""
    return _written_pid(home) if is_held(home) else None


def _written_pid(home: Home) -> int | None:
    try:
        return int(home.lock.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def ailments(report: Report, now: float) -> list[str]:
    """Why a running worker is unwell, in words; empty when it is well."""
    found = []
    limit = max(_LEAST_SILENCE, 3 * report.interval)
    if report.last_scan_s is not None and now - report.last_scan_s > limit:
        found.append(f"it has not looked for {now - report.last_scan_s:.0f} s")
    if report.failed_looks >= _FAILED_LOOKS:
        found.append(f"its last {report.failed_looks} looks failed: {report.last_error}")
    if report.damage:
        found.append(report.damage)
    for name, transport in report.transports.items():
        if transport.get("problem"):
            found.append(f"transport {name}: {transport['problem']}")
    return found
