"""Status and doctor show the sync snapshot from which a worker reads peers."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.peer_traces import write_snapshot
from tests.support import ANA, Box
from tests.trees import Disk


@pytest.fixture
def now(box: Box) -> Box:
    """The box of the real command, whose clock is the machine's."""
    box.clock.now = time.time()
    return box


def words_of(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def test_status_and_doctor_show_why_peers_cannot_be_detected(now: Box) -> None:
    """E: and it is no reason to call the worker unhealthy; then, that the snapshot is usable."""
    disk = Disk(now.root)
    write_snapshot(now, disk, [ANA], sync_error="invalid\x1b[31m grant")
    started = words_of(now.notify("start", check=0))
    assert f"peers from: {now.snapshot}, synced" in started
    status = json.loads(now.notify("status", "--json", check=0).stdout)
    assert f"warning: peer notifications cannot be sent: {status['peers_source']['problem']}" in started
    assert "failed: invalid\\x1b[31m grant" in status["peers_source"]["problem"]
    assert status["peers_source"]["usable"] is False
    problem = f"peer notifications cannot be sent: {status['peers_source']['problem']}"
    assert any(notice.startswith(problem) for notice in status["notices"])
    assert f"{problem}; run `syft-bg start sync`" in words_of(now.notify("status", check=0))
    assert words_of(now.notify("doctor")).count(problem) == 1
    now.notify("stop", check=0)

    write_snapshot(now, disk, [ANA], sync_time=time.time() - 300)
    assert f"peers from: {now.snapshot}, synced 5 minutes ago" in words_of(now.notify("start", check=0))
    status = json.loads(now.notify("status", "--json", check=0).stdout)
    assert status["peers_source"]["usable"] is True
    assert status["peers_source"]["path"] == str(now.snapshot)
    assert not any("peer" in notice for notice in status["notices"])
    assert f"peers: 1 peer, by the sync snapshot in {now.snapshot}, synced 5 minutes ago" in words_of(
        now.notify("doctor")
    )
    shown = "".join(now.notify("status").stdout.split())  # the table folds long paths
    assert "".join(f"{now.snapshot}, synced 5 minutes ago".split()) in shown
