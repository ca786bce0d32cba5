"""Files of peers on the owner's machine, as syft-bg and older clients write them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support import OWNER, Box, Sent
from tests.trees import Disk

EVE = "eve@else.example"


def requested(peer: str) -> Counter[Sent]:
    return Counter({("peer_requested", "owner", OWNER): 1, ("peer_requested", "submitter", peer): 1})


def granted(peer: str) -> Counter[Sent]:
    return Counter({("peer_granted", "submitter", peer): 1})


def write_snapshot(box: Box, disk: Disk, requesting: list[str], approved: list[str] | None = None, **more: Any) -> None:
    """Write the sync state in place, as syft-bg does every ten seconds."""
    state = {
        "notified_jobs": {},
        "snapshot": {
            "sync_time": box.clock.now,
            "sync_count": 1,
            "sync_error": None,
            "job_names": [],
            "peer_emails": [*requesting, *(approved or [])],
            "approved_peer_emails": approved or [],
            "own_version": {"syft_client_version": "0.10.0", "protocol_version": "1.0.0"},
            **more,
        },
    }
    disk.write(box.snapshot, json.dumps(state))


def notify_state(box: Box) -> Path:
    return box.folder / "syft-bg" / "notify" / "state.json"


def write_old_peer_file(disk: Disk, peer: str) -> Path:
    name = peer.replace("@", "_at_").replace(".", "_")
    path = disk.root / ".syft" / "peers" / f"{name}.json"
    disk.write(path, json.dumps({"email": peer, "platform": "google", "available_transports": {}}))
    return path
