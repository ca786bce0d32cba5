"""Is somebody at work in this home, and what do they say of themselves? The lock, and `worker.json`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from syftnotify.errors import AlreadyRunningError, NotifyError
from syftnotify.files import exclusive, is_locked, owner_of, whose, write_whole
from syftnotify.paths import Home

# Somebody who only asks whether the lock is held holds it for an instant; a worker that starts waits that out.
_PATIENCE = 1.0
# A worker is unwell after three intervals without a look, and never sooner than this.
_LEAST_SILENCE = 30.0
_PID_SECONDS = 2.0  # until a holder of the lock has written who it is
_FAILED_LOOKS = 3
_LARGEST = 1e11  # no number of ours is larger; as a time it is the year 5138


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
    sent: int = 0  # messages
    notifications: int = 0  # in those messages
    failed: int = 0
    unknown: int = 0
    held: int = 0
    withheld: int = 0
    dead: int = 0
    unacknowledged: int = 0  # dead letters
    vanished: str = ""  # the folder that was there and is not any more, and since when
    delayed: int = 0  # events of submitters who cause more than the limit per minute
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
    """The last report of `home`; what cannot be read, or is of a wrong type, is as if it had not been written."""
    report = Report(home=str(home.root))
    try:
        loaded = json.loads(home.worker.read_bytes(), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError):
        return report
    if not isinstance(loaded, dict):
        return report
    for item in fields(Report):
        if item.name in loaded and item.name != "home" and _fits(item.name, item.type, loaded[item.name]):
            setattr(report, item.name, loaded[item.name])
    return report


def _no_number(word: str) -> float:
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
    if name == "transports":
        return isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values())
    types = {"int": (int,), "str": (str,), "float": (int, float), "bool": (bool,), "None": (type(None),)}
    if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        return False
    allowed = tuple(each for word in str(kind).split(" | ") for each in types[word])
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


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
    with ExitStack() as stack:
        try:
            home.create()
            check_owner(home)
            if not stack.enter_context(exclusive(home.lock, seconds=seconds)):
                raise AlreadyRunningError(holder(home))
            home.lock.write_text(f"{os.getpid()}\n", encoding="ascii")
        except OSError as error:
            raise unusable(home, error) from error
        yield


def unusable(home: Home, error: OSError) -> NotifyError:
    """The home is a file, somebody else's, read-only, or full."""
    where = error.filename if isinstance(error.filename, str) else home.root
    return NotifyError(
        f"{where} cannot be used: {error.strerror}{whose(where)}",
        hint="see that it is yours, writable and not full, or choose another `--home`",
    )


def check_owner(home: Home) -> str:
    """A warning when root works in a home of somebody else, else nothing.

    Raises:
        NotifyError: the home is somebody else's: whoever can write there decides what is sent in whose name.
    """
    owner = owner_of(home.root)
    if owner is None or owner.is_me:
        return ""
    if os.geteuid() == 0:
        return f"{home.root} belongs to {owner.name}, who cannot read what root writes there"
    raise NotifyError(f"{home.root} belongs to {owner.name}", hint="work as that user, or choose another `--home`")


def is_held(home: Home) -> bool:
    """Whether a worker is running in `home`."""
    return is_locked(home.lock)


def holder(home: Home) -> int | None:
    """The pid of the running worker, as far as it is known; None when none is running.

    It is written a moment after the lock was taken, and that moment is waited for.
    """
    until = time.monotonic() + _PID_SECONDS
    while is_held(home):
        pid = _written_pid(home)
        if (pid is not None and is_alive(pid)) or time.monotonic() > until:
            return pid
        time.sleep(0.01)  # polled: the lock has no other way to say so
    return None


def is_alive(pid: int) -> bool:
    """Whether a process of that number lives."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


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
    if report.vanished:
        found.append(report.vanished)
    if report.unacknowledged:
        count = f"{report.unacknowledged} dead letter{'s' if report.unacknowledged > 1 else ''}"
        found.append(f"{count} not acknowledged: `notify dead-letters` lists them")
    for name, transport in report.transports.items():
        if transport.get("problem"):
            found.append(f"transport {name}: {transport['problem']}")
    return found
