"""`notify run` in the foreground."""

from __future__ import annotations

import signal
import subprocess
import sys

from syftnotify.services.demo import Tree
from syftnotify.system import worker_status
from tests.support import TIMEOUT, Box, wait_until


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
