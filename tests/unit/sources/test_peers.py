"""Sync snapshots: which one is used, and why one is not usable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syftnotify.sources.syftbox.peers import PeerScanner
from tests.peer_traces import EVE
from tests.support import ANA, OWNER, Clock
from tests.trees import Disk


@pytest.fixture
def disk(tmp_path: Path, clock: Clock) -> Disk:
    return Disk(tmp_path / "SyftBox", clock.time)


def write_snapshot_at(disk: Disk, folder: Path, ago: float, requesting: list[str], **more: Any) -> Path:
    path = folder / "sync" / "state.json"
    lists = {"peer_emails": requesting, "approved_peer_emails": []}
    disk.write(path, json.dumps({"snapshot": {"sync_time": disk.clock() - ago, **lists, **more}}))
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"ago": 3600.0}, {"ago": 60.0}),
        ({"ago": 60.0}, {"ago": 10.0}),
        ({"ago": 0.0, "sync_error": "no network"}, {"ago": 60.0}),
        ({"ago": -86400.0}, {"ago": 60.0}),
        ({"ago": 86400.0}, {"ago": 3600.0}),
        ({"ago": 0.0, "sync_time": "now"}, {"ago": 3600.0}),
    ],
    ids=["stale", "older", "failed", "from the future", "both stale", "undated"],
)
@pytest.mark.parametrize("reversed_", [False, True])
def test_newest_usable_snapshot_is_used_alone(
    disk: Disk, tmp_path: Path, old: dict[str, Any], new: dict[str, Any], reversed_: bool
) -> None:
    """E: what the other one lists is not merged."""
    paths = [
        write_snapshot_at(disk, tmp_path / "old", requesting=[EVE], **old),
        write_snapshot_at(disk, tmp_path / "new", requesting=[ANA], **new),
    ]
    reader = PeerScanner(disk.root, OWNER, tuple(paths[::-1] if reversed_ else paths), (), disk.clock)
    assert [peer.address for peer in reader.scan()] == [ANA]
    assert reader.status is not None
    assert reader.status.path == str(paths[1])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no sync snapshot of syft-bg at "),
        ({"ago": 3600.0}, "was 60 minutes ago"),
        ({"ago": 0.0, "sync_error": "invalid\x1b[31m grant"}, "failed: invalid\\x1b[31m grant"),
        ({"ago": 0.0, "sync_time": None}, "has no valid sync_time"),
        ({"ago": 0.0, "sync_time": True}, "has no valid sync_time"),
        ({"ago": -3600.0}, "lies in the future"),
        ({"ago": 0.0}, ""),
    ],
)
def test_scan_status_names_why_a_snapshot_is_not_usable(
    disk: Disk, tmp_path: Path, content: dict[str, Any] | None, problem: str
) -> None:
    """E"""
    path = tmp_path / "sync" / "state.json"
    if content is not None:
        write_snapshot_at(disk, tmp_path, requesting=[ANA], **content)
    scanner = PeerScanner(disk.root, OWNER, (path,), (), disk.clock)
    scanner.scan()
    status = scanner.status

    assert status is not None
    assert problem in status.problem
    assert status.usable is not bool(problem)
    assert status.path == (None if content is None else str(path))
