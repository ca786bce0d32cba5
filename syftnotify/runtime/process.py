"""Is one alive; start it, stop it. The only user of Popen and kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syftnotify.core.errors import AlreadyRunningError, NotifyError, NotRunningError
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.ownership import check_home
from syftnotify.system.paths import Home
from syftnotify.system.procinfo import WORKER_MODULE, is_worker

_POLL_SECONDS = 0.05
_KILLED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Started:
    """A worker that runs: it holds its lock and has finished its first look."""

    pid: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a worker ended."""

    pid: int
    killed: bool  # it did not end in time
    waiting: int  # notifications that go out at the next start


def start(home: Home) -> Started:
    """Start a detached worker and return once it has finished its first look.

    Raises:
        AlreadyRunningError: one is running.
        NotifyError: it could not start; the text and the exit code are the worker's own.
    """
    check_home(home)
    if worker_lock.is_held(home):
        raise AlreadyRunningError(worker_lock.holder_pid(home))
    reader, writer = os.pipe()
    try:
        home.create()
        with home.log.open("ab") as log:
            size = log.tell()
            home.log.chmod(0o600)
            process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-P", "-m", WORKER_MODULE, "--home", str(home.root), "--tell", str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
            )
    except OSError as error:
        os.close(reader)
        raise worker_lock.home_error(home, error) from error
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        told = _told(answers.readline())
    if "pid" in told:
        process.returncode = 0  # it lives on without us; Popen would complain that nobody waited for it
        return Started(int(told["pid"]), tuple(told.get("warnings", ())))
    code = process.wait()
    if "error" not in told and code == -signal.SIGTERM:
        stopped = NotifyError("the worker was stopped before it was ready", hint="`notify start` starts another one")
        stopped.exit_code = NotRunningError.exit_code
        raise stopped
    if "error" not in told:
        raise NotifyError(
            f"the worker ended before it was ready (exit code {code}). Its last words:\n{_words_since(home.log, size)}",
            hint=f"the whole log is {home.log}",
        )
    if told["exit_code"] == AlreadyRunningError.exit_code:  # somebody else was faster
        raise AlreadyRunningError(worker_lock.holder_pid(home))
    refusal = NotifyError(told["error"], hint=told.get("hint", ""))
    refusal.exit_code = int(told["exit_code"])
    raise refusal


def stop(home: Home, *, seconds: float = 30.0, sleep: Callable[[float], None] = time.sleep) -> Stopped:
    """End the worker: it finishes the sends in flight, for at most `seconds`; then it is killed.

    Raises:
        NotRunningError: none is running.
        NotifyError: one is, but it cannot be found or signalled.
    """
    pid = worker_lock.holder_pid(home)
    if pid is None:
        if worker_lock.is_held(home):
            raise NotifyError("a worker holds the lock, but its pid is not known", hint=f"see who has {home.lock} open")
        raise NotRunningError
    if not is_worker(pid, home.root, default=True):
        raise NotifyError(
            f"the lock is held, but pid {pid} in it is some other program's", hint=f"see who has {home.lock} open"
        )
    _signal(pid, signal.SIGTERM)
    killed = not _has_ended(home, pid, seconds, sleep)
    if killed:
        _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        if not _has_ended(home, pid, _KILLED_SECONDS, sleep):
            raise NotifyError(f"the worker (pid {pid}) does not end", hint="it may hang in a system call")
    return Stopped(pid, killed, worker_status.read(home).waiting)


def _has_ended(home: Home, pid: int, seconds: float, sleep: Callable[[float], None]) -> bool:
    """Whether worker `pid` ends within `seconds`. Another one may be started before this process notices."""
    until = time.monotonic() + seconds
    while worker_lock.holder_pid(home) == pid:
        if time.monotonic() >= until:
            return False
        sleep(_POLL_SECONDS)  # the lock has to be polled: nothing signals its release
    return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise NotifyError(f"the worker (pid {pid}) belongs to another user", hint="stop it as that user") from error


def _told(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _words_since(log: Path, size: int) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(size)
        return file.read(4000).decode("utf-8", "replace").rstrip()
    return ""
