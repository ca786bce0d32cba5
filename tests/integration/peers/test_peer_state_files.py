"""State files of peers: which one is used, and files that prove nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.runtime.container import App
from tests.peer_traces import EVE, granted, notify_state, requested, write_old_peer_file, write_snapshot
from tests.scanning import NOTHING, notified, on, scan_after
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.check_only


def write_syft_bg_config(box: Box, disk: Disk, config: str) -> None:
    disk.write(box.snapshot.parent.parent / "config.yaml", config)


@pytest.mark.parametrize(
    "config",
    [
        f"do_email: {EVE}\n",
        f"sync: {{do_email: {EVE}}}\nnotify: {{do_email: {EVE}}}\ndo_email: {OWNER}\n",
        "",
        "a: [\n",
    ],
    ids=["another owner", "another owner's service", "empty", "no YAML"],
)
def test_state_files_of_another_owner_are_ignored(box: Box, disk: Disk, config: str) -> None:
    """E: the config.yaml beside them names the owner; while it cannot be read, nobody is mailed."""
    write_syft_bg_config(box, disk, config)
    box.scan()
    write_snapshot(box, disk, [ANA], [BO])
    disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA]}))
    assert scan_after(box, 10) == NOTHING
    assert "another" not in config or "belongs to" in box.notify("doctor").stdout
    write_syft_bg_config(box, disk, f"do_email: {OWNER.upper()}\n")
    assert scan_after(box, 10) == requested(ANA) + granted(BO)


def test_partial_config_of_syft_bg_changes_no_owner(box: Box, disk: Disk, app: App) -> None:
    """E: what was read before still holds."""
    write_syft_bg_config(box, disk, f"do_email: {OWNER}\n")
    app.run_once(None)
    write_syft_bg_config(box, disk, "")
    write_snapshot(box, disk, [ANA])
    box.clock.advance(10)
    app.run_once(box.clock.now)
    assert notified(box) == requested(ANA)


def test_request_in_a_stale_snapshot_is_notified(box: Box, disk: Disk) -> None:
    """E: facts do not expire; syft-bg may have stopped right after it wrote the request down."""
    box.scan()
    write_snapshot(box, disk, [ANA], sync_time=box.clock.now - 86400)
    assert scan_after(box, 10) == requested(ANA)


def test_notify_state_is_used_only_without_a_usable_snapshot(box: Box, disk: Disk) -> None:
    """E: it is a copy, and keeps what was withdrawn since."""
    write_snapshot(box, disk, [])
    box.scan()
    disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA]}))
    write_snapshot(box, disk, [BO])
    assert scan_after(box, 10) == requested(BO)
    write_snapshot(box, disk, [BO], sync_error="no network")
    assert scan_after(box, 10) == requested(ANA)


@pytest.mark.parametrize("error", [None, "no network"])
def test_empty_lists_of_a_snapshot_change_nothing(box: Box, disk: Disk, error: str | None) -> None:
    """A failed sync leaves the lists wrongly empty: no peer is removed, and none is new again."""
    box.scan()
    write_snapshot(box, disk, [ANA], [BO])
    assert scan_after(box, 10) == requested(ANA) + granted(BO)
    write_snapshot(box, disk, [], [], sync_error=error, own_version=None)
    assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [ANA], [BO])
    assert scan_after(box, 10) == NOTHING


PARTIAL = [b"", b'{"snapshot": {"peer_em', b"\0" * 100, b"[]", b"null", b'"text"', b"[" * 100_000, b"\xff\xfe"]


def test_partial_state_files_are_ignored_until_complete(box: Box, disk: Disk) -> None:
    """X11: what was read before still holds."""
    box.scan()
    write_snapshot(box, disk, [ANA])
    assert scan_after(box, 10) == requested(ANA)
    for partial in PARTIAL:
        disk.write(box.snapshot, partial)
        disk.write(notify_state(box), partial)
        disk.write(box.root / ".syft" / "peers" / "x.json", partial)
        assert scan_after(box, 10) == NOTHING, partial[:20]
    write_snapshot(box, disk, [ANA, BO])
    assert scan_after(box, 10) == requested(BO)


@pytest.fixture
def app(box: Box) -> Iterator[App]:
    app = box.open_app()
    yield app
    app.close()


def test_partial_snapshot_is_read_again_by_one_process(box: Box, disk: Disk, app: App) -> None:
    """Read again only when it changed; partial at one scan, notified after the next."""
    app.run_once(None)
    for content, expected in ((b"", NOTHING), (None, requested(ANA)), (b"{", NOTHING)):
        box.clock.advance(10)
        if content is None:
            write_snapshot(box, disk, [ANA])
        else:
            disk.write(box.snapshot, content)
        app.run_once(box.clock.now)
        assert notified(box) == expected


ODD: list[Any] = [7, None, {}, ANA, [ANA, 7, None, [], {}], {ANA: True}]


@pytest.mark.parametrize("value", [pytest.param(value, marks=pytest.mark.thorough) for value in ODD[:-2]] + ODD[-2:])
def test_wrong_types_in_state_files_hide_no_other_peer(box: Box, disk: Disk, value: Any) -> None:
    """X11: types are checked."""
    box.scan()
    disk.write(box.snapshot, json.dumps({"snapshot": {"peer_emails": value, "approved_peer_emails": value}}))
    disk.write(notify_state(box), json.dumps({"peer_snapshot": value, "notified_jobs": value}))
    disk.write(box.root / ".syft" / "peers" / "x.json", json.dumps({"email": value}))
    disk.write(box.root / ".syft" / "peers" / "bo.json", json.dumps({"email": BO}))
    found = scan_after(box, 10)
    assert found & requested(BO) == requested(BO)
    assert {recipient for _, _, recipient in found} <= {OWNER, ANA, BO}


INVALID_ADDRESSES = [
    "no address",
    "a@b\nBcc: eve@else.example",
    "a@b, eve@else.example",
    "Eve <eve@else.example>",
    "<script>@x.example",
    "a@" + "b" * 300,
    "\u202eana@x.example",
    "@",
    "",
]


def test_invalid_addresses_are_no_peers(box: Box, disk: Disk) -> None:
    """X11: one bare address or nothing."""
    box.scan()
    write_snapshot(box, disk, [*INVALID_ADDRESSES, ANA])
    for number, address in enumerate(INVALID_ADDRESSES):
        disk.write(box.root / ".syft" / "peers" / f"{number}.json", json.dumps({"email": address}))
    assert scan_after(box, 10) == requested(ANA)


def test_links_and_pipes_among_peer_files_hide_no_other_peer(box: Box, disk: Disk, tmp_path: Path) -> None:
    """X11: no symlink followed, regular files only."""
    box.scan()
    peers = box.root / ".syft" / "peers"
    (tmp_path / "eve.json").write_text(json.dumps({"email": EVE}))
    disk.link(peers / "linked.json", tmp_path / "eve.json")
    os.mkfifo(peers / "pipe.json")
    (peers / "folder.json").mkdir()
    write_old_peer_file(disk, ANA)
    assert scan_after(box, 10) == requested(ANA)


# -- peers that jobs claim ---------------------------------------------------------------------------------------------


@on("A", thorough=["B1", "B2", "B3"])
@pytest.mark.parametrize("source", ["requested", "granted", "notify state", "peer file", "folders"])
def test_claimed_submitter_that_is_a_peer_is_mailed(box: Box, disk: Disk, tree: Tree, source: str) -> None:
    """A to B3 name no submitter in the path: mail goes to the claimed address only if the owner has added it as a peer.

    A peer with only a request is not added.
    """
    match source:
        case "requested":
            write_snapshot(box, disk, [ANA])
        case "granted":
            write_snapshot(box, disk, [], [ANA])
        case "notify state":
            disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA]}))
        case "peer file":
            write_old_peer_file(disk, ANA)
        case _:
            TREES["D"](disk).grant(ANA)
    scan_after(box, 10)
    tree.submit(name="known", by=ANA.upper())
    tree.submit(name="unknown", by=EVE)
    expected = Counter({("job_submitted", "owner", OWNER): 2})
    if source not in {"requested", "notify state"}:
        expected["job_submitted", "submitter", ANA] = 1
    assert scan_after(box, 10) == expected
