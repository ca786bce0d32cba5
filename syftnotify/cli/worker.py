"""`notify start`, `stop`, `restart` and `ensure`: control the background worker."""

import contextlib
from typing import TYPE_CHECKING

import typer

from syftnotify.cli.console import print_line, print_warning, print_warnings, show_progress
from syftnotify.cli.options import HomeOption, TimeoutOption, resolve_home
from syftnotify.core.errors import AlreadyRunningError, NotifyError, NotRunningError

if TYPE_CHECKING:
    from syftnotify.system.paths import Home


def start(context: typer.Context, home: HomeOption = None) -> None:
    """Start the background worker and return when it is running."""
    start_worker(resolve_home(context, home))


def stop(context: typer.Context, timeout: TimeoutOption = 30.0, home: HomeOption = None) -> None:
    """Stop the worker after its sends in progress."""
    if not stop_worker(resolve_home(context, home), timeout):
        raise typer.Exit(1)


def restart(context: typer.Context, timeout: TimeoutOption = 30.0, home: HomeOption = None) -> None:
    """Restart the worker with the current configuration."""
    from syftnotify.runtime import systemd
    from syftnotify.runtime.opening import require_copied
    from syftnotify.services.settings import check_ready
    from syftnotify.system import worker_lock

    resolved = resolve_home(context, home)
    try:
        require_copied(check_ready(resolved))
    except NotifyError as error:
        if worker_lock.is_held(resolved):
            continues = "the worker continues with the previous configuration"
            error.hint = f"{error.hint}; {continues}" if error.hint else continues
        raise
    if (unit := systemd.running_unit(resolved)) is not None:
        systemd.restart(unit)
        print_line("worker restarted by systemd")
        return
    try:
        stop_worker(resolved, timeout)
    except NotRunningError:
        print_line("no worker was running")
    start_worker(resolved)


def ensure(context: typer.Context, home: HomeOption = None) -> None:
    """Start the worker unless it is running; silent, for cron."""
    from syftnotify.runtime import process
    from syftnotify.system import worker_lock

    resolved = resolve_home(context, home)
    if worker_lock.is_held(resolved):
        return
    with contextlib.suppress(AlreadyRunningError):  # started by another process meanwhile
        process.start(resolved)


def start_worker(home: "Home") -> None:
    """Start the worker; print its warnings, and what it uses of syft-bg."""
    import time

    from syftnotify.runtime import process
    from syftnotify.services.status import peer_notices, read_status, snapshot_path, syft_bg_lines

    with show_progress("starting") as update:
        started = process.start(
            home, on_progress=lambda scanned, total: update(f"first scan: {scanned:,} of {total:,} jobs")
        )
    print_warnings(started.warnings)
    status = read_status(home)
    if snapshot_path(status.report):  # many machines never have a snapshot
        print_warnings(peer_notices(status.report))
    for label, text in syft_bg_lines(status, time.time()):
        print_line(f"{label}: {text}")
    print_line(f"worker started (pid {started.pid}); follow it with `notify logs -f`")


def stop_worker(home: "Home", timeout: float) -> bool:
    """Stop the worker and print how it ended; returns whether it ended within `timeout` seconds."""
    from syftnotify.core.text import plural
    from syftnotify.runtime import process

    stopped = process.stop(home, seconds=timeout)
    left = f"; left for the next start: {plural(stopped.waiting, 'notification')}" if stopped.waiting else ""
    if stopped.killed:
        print_warning(f"the worker (pid {stopped.pid}) did not end within {timeout:g} s and was killed{left}")
        print_warning("the messages that it was sending count as unknown and are sent again at the next start")
    else:
        print_line(f"worker stopped (pid {stopped.pid}), sends finished{left}")
    return not stopped.killed
