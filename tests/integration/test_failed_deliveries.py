"""Failed deliveries change nothing in the tree."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from syftnotify.services.demo import Tree as DemoTree
from tests.fakes.google import Google, Responder, respond_error, respond_html
from tests.scanning import scan_once
from tests.support import ANA, Box
from tests.workers import CODE, configure, outbox_counts

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0


def fingerprints(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, modification time and content hash of everything below `folder`."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(respond_error(400), marks=pytest.mark.thorough),
        respond_html(503),
        pytest.param(respond_error(403, "dailyLimitExceeded"), marks=pytest.mark.thorough),
        pytest.param(respond_error(401, "authError"), marks=pytest.mark.thorough),
    ],
    ids=["refused", "not now", "limit", "sign-in"],
)
def test_failed_delivery_changes_nothing_in_the_tree(
    google: Google, box: Box, tree_with_peer: DemoTree, fault: Responder
) -> None:
    """N26, A12: nor what later scans find there."""
    configure(box, google, second=False)
    google.write_token(box.home.token)
    scan_once(box)
    google.default = fault
    tree_with_peer.submit(ANA, "survey", CODE)
    tree_with_peer.approve(ANA, "survey")
    before = fingerprints(box.root)
    for _ in range(4):
        scan_once(box)
        box.clock.advance(2 * HOUR)
    assert outbox_counts(box).sent == 0
    assert fingerprints(box.root) == before

    tree_with_peer.end(ANA, "survey", 1, "KeyError: 'person_id'\n")
    before = fingerprints(box.root)
    scan_once(box)

    assert fingerprints(box.root) == before
    found = outbox_counts(box)
    alerts = 2 if found.dead else 0  # about the dead letters before the end of the job and after it
    assert found.waiting + found.dead == 5 + alerts
