"""Start and stop of the detached worker of a home."""

from __future__ import annotations

import contextlib
import json
import os
import select
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
_PROGRESS_SECONDS = 0.5
_KILL_SECONDS = 10.0  # in which a killed worker must end
_LOG_EXCERPT = 4000  # bytes of the log in an error

_Report = dict[str, Any]  # what the worker sends once: `pid` and `warnings`, or `error`, `hint` and `exit_code`


@dataclass(frozen=True, slots=True)
class StartedWorker:
    """A running worker: it holds its lock and has finished its first scan."""

    pid: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoppedWorker:
    """A worker that has ended."""

    pid: int
    killed: bool  # it did not end in time
    waiting: int  # unsent notifications, as of its last status


def start(home: Home, *, on_progress: Callable[[int, int], None] | None = None) -> StartedWorker:
    """Start a detached worker and wait until it has finished its first scan.

    Meanwhile `on_progress` is called about twice a second, with the number of jobs read so far, and of all to read.

    Raises:
        AlreadyRunningError: a worker is running.
        NotifyError: the worker did not start; its own error and exit code, if it reported one.
    """
    check_home(home)
    if worker_lock.is_held(home):
        raise AlreadyRunningError(worker_lock.holder_pid(home))
    reader, writer = os.pipe()
    try:
        home.create()
        process, log_size = _spawn(home, writer)
    except OSError as error:
        os.close(reader)
        raise worker_lock.home_error(home, error) from error
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        while on_progress is not None and not select.select([pipe], [], [], _PROGRESS_SECONDS)[0]:
            status = worker_status.read(home)
            if status.pid == process.pid and status.total:
                on_progress(status.scanned, status.total)
        report = _parse_report(pipe.readline())
    if "pid" in report:
        process.returncode = 0  # Popen warns about a process that still runs, as the worker is meant to do
        return StartedWorker(int(report["pid"]), tuple(report.get("warnings", ())))
    raise _start_error(home, report, process.wait(), log_size)


def _spawn(home: Home, writer: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start the process, which writes its report into the pipe `writer`; returns it, and the size of the log before.

    Raises:
        OSError: the log cannot be opened, or the process cannot be started.
    """
    with home.log.open("ab") as log:
        log_size = log.tell()
        home.log.chmod(0o600)
        process = subprocess.Popen(  # noqa: S603 - the project's own program, without a shell
            [sys.executable, "-P", "-m", WORKER_MODULE, "--home", str(home.root), "--report-fd", str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writer,),
            start_new_session=True,
        )
    return process, log_size


def _parse_report(line: bytes) -> _Report:
    """The report of a worker; empty if it ended without one."""
    try:
        report = json.loads(line)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _start_error(home: Home, report: _Report, exit_code: int, log_size: int) -> NotifyError:
    """Why the worker ended before it was ready."""
    if "error" not in report and exit_code == -signal.SIGTERM:
        error = NotifyError("the worker was stopped before it was ready", hint="run `notify start` again")
        error.exit_code = NotRunningError.exit_code
    elif "error" not in report:
        error = NotifyError(
            f"the worker ended before it was ready (exit code {exit_code}); the end of its log:\n"
            f"{_read_from(home.log, log_size)}",
            hint=f"read the whole log in {home.log}",
        )
    elif report["exit_code"] == AlreadyRunningError.exit_code:  # another one was started at the same time
        error = AlreadyRunningError(worker_lock.holder_pid(home))
    else:
        error = NotifyError(report["error"], hint=report.get("hint", ""))
        error.exit_code = int(report["exit_code"])
    return error


def _read_from(log: Path, offset: int) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(offset)
        return file.read(_LOG_EXCERPT).decode("utf-8", "replace").rstrip()
    return ""


def stop(home: Home, *, seconds: float = 30.0, sleep: Callable[[float], None] = time.sleep) -> StoppedWorker:
    """Stop the worker, which first finishes the attempts in progress; kill it after `seconds`.

    Raises:
        NotRunningError: no worker is running.
        NotifyError: the worker cannot be identified or signalled, or does not end.
    """
    pid = _running_pid(home)
    _signal(pid, signal.SIGTERM)
    killed = not _wait_for_end(home, pid, seconds, sleep)
    if killed:
        _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        if not _wait_for_end(home, pid, _KILL_SECONDS, sleep):
            raise NotifyError(
                f"the worker (pid {pid}) does not end after SIGKILL",
                hint="check whether a disk or network mount hangs, then run the command again",
            )
    return StoppedWorker(pid, killed, worker_status.read(home).waiting)


def _running_pid(home: Home) -> int:
    """The pid of the running worker. Raises: NotRunningError; NotifyError if the pid is not known for certain."""
    pid = worker_lock.holder_pid(home)
    hint = f"find out which process has {home.lock} open"
    if pid is None and worker_lock.is_held(home):
        raise NotifyError("a worker holds the lock, but its pid is unknown", hint=hint)
    if pid is None:
        raise NotRunningError
    if not is_worker(pid, home.root, default=True):
        raise NotifyError(f"the lock is held, but its pid {pid} belongs to some other program", hint=hint)
    return pid


def _wait_for_end(home: Home, pid: int, seconds: float, sleep: Callable[[float], None]) -> bool:
    """Wait until worker `pid` has ended; returns False if it has not after `seconds`.

    Another worker may hold the lock by then.
    """
    deadline = time.monotonic() + seconds
    while worker_lock.holder_pid(home) == pid:
        if time.monotonic() >= deadline:
            return False
        sleep(_POLL_SECONDS)  # a process cannot wait for one that is not its child
    return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise NotifyError(f"the worker (pid {pid}) belongs to another user", hint="stop it as that user") from error
