"""`notify run` in the foreground."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from syftnotify.services.demo import Tree
from syftnotify.system import worker_status
from tests.support import ANA, TIMEOUT, Box, wait_until


@pytest.fixture
def tree(box: Box) -> Tree:
    """The box's tree, with Ana as a peer."""
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def test_run_in_foreground_ends_on_ctrl_c(box: Box, tree: Tree) -> None:
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
