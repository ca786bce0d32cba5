"""`notify run` in the foreground."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from syftnotify.services.demo import Tree
from syftnotify.system import worker_status
from tests.support import TIMEOUT, Box, wait_until


@pytest.mark.thorough
def test_run_in_foreground_ends_on_ctrl_c(box: Box, tree_with_peer: Tree) -> None:
    """B07."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "syftnotify", "run"],
        env=box.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: worker_status.read(box.home).last_scan_s, what="a scan")
        process.send_signal(signal.SIGINT)
        arguments, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 0, arguments
    assert "started" in arguments
    assert "Traceback" not in arguments


@pytest.mark.thorough
def test_signal_while_the_outbox_is_opened_stops_the_worker_in_order(box: Box) -> None:
    """The worker ends as after any other stop, instead of counting as killed."""
    box.scan()
    with closing(sqlite3.connect(box.home.outbox, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")  # the worker waits for it
        process = box.start_process("run")
        try:
            wait_until(lambda: worker_status.read(box.home).pid == process.pid, what="the start of the worker")
            process.send_signal(signal.SIGTERM)
            holder.close()
            _, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()

    assert (process.returncode, worker_status.read(box.home).ended) == (0, "stopped"), errors
