"""Peers: the traces that requests and grants leave on the owner's machine."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.assembly import Parts
from syftnotify.model import entity_id
from tests.support import ANA, BO, OWNER, Box, Told
from tests.trees import TREES, Disk, Tree

NOTHING: Counter[Told] = Counter()
EVE = "eve@else.example"


@pytest.fixture
def disk(box: Box) -> Disk:
    return Disk(box.root, box.clock.time)


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[request.param](disk)


def requested(peer: str) -> Counter[Told]:
    return Counter({("peer_requested", "owner", OWNER): 1, ("peer_requested", "submitter", peer): 1})


def granted(peer: str) -> Counter[Told]:
    return Counter({("peer_granted", "submitter", peer): 1})


def told(box: Box) -> Counter[Told]:
    return Counter(mail.told for mail in box.new_mails())


def after(box: Box, seconds: float) -> Counter[Told]:
    box.clock.advance(seconds)
    box.look()
    return told(box)


def snapshot(box: Box, disk: Disk, asking: list[str], accepted: list[str] | None = None, **more: Any) -> None:
    """What syft-bg's sync writes every ten seconds, in place."""
    state = {
        "notified_jobs": {},
        "snapshot": {
            "sync_time": 1795297849.8,
            "sync_count": 1,
            "sync_error": None,
            "job_names": [],
            "peer_emails": [*asking, *(accepted or [])],
            "approved_peer_emails": accepted or [],
            **more,
        },
    }
    disk.write(box.snapshot, json.dumps(state))


def notify_state(box: Box) -> Path:
    return box.folder / "syft-bg" / "notify" / "state.json"


def old_peer_file(disk: Disk, peer: str) -> Path:
    name = peer.replace("@", "_at_").replace(".", "_")
    path = disk.root / ".syft" / "peers" / f"{name}.json"
    disk.write(path, json.dumps({"email": peer, "platform": "google", "available_transports": {}}))
    return path


# Requests


def test_a_request_in_the_snapshot_is_told_to_both_once(box: Box, disk: Disk) -> None:
    snapshot(box, disk, [])
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA])
    assert after(box, 10) == requested(ANA)
    (mail,) = [mail for mail in box.mails() if mail.audience == "owner"]
    assert ANA in mail.text
    assert mail.entities == [entity_id("peer", OWNER, ANA)]
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA, BO])
    assert after(box, 10) == requested(BO)


def test_a_request_in_the_notify_state_is_told(box: Box, disk: Disk) -> None:
    """syft-bg's notifier remembers the peers it saw as `peer_snapshot`."""
    box.look()
    disk.write(notify_state(box), json.dumps({"notified_jobs": {}, "peer_snapshot": [ANA]}))
    assert after(box, 10) == requested(ANA)
    assert after(box, 10) == NOTHING


def test_a_request_in_an_old_peer_file_is_told(box: Box, disk: Disk) -> None:
    """The file's name is lossy: the address stands inside."""
    box.look()
    old_peer_file(disk, "a.b_c@uni.example")
    assert after(box, 10) == requested("a.b_c@uni.example")
    assert after(box, 10) == NOTHING


def test_three_signs_of_one_request_are_one_event(box: Box, disk: Disk) -> None:
    box.look()
    snapshot(box, disk, [ANA])
    disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA.upper()]}))
    old_peer_file(disk, ANA)
    assert after(box, 10) == requested(ANA)
    assert after(box, 10) == NOTHING


# Grants


def test_a_grant_in_the_snapshot_is_told_to_the_peer_once(box: Box, disk: Disk) -> None:
    box.look()
    snapshot(box, disk, [ANA])
    after(box, 10)
    snapshot(box, disk, [], [ANA])
    assert after(box, 10) == granted(ANA)
    assert after(box, 10) == NOTHING


@pytest.mark.parametrize("tree", ["B4", "C1", "C2", "D"], indirect=True)
def test_the_folders_of_a_grant_are_told_to_the_peer_once(box: Box, disk: Disk, tree: Tree) -> None:
    box.look()
    tree.grant(ANA)
    assert after(box, 10) == granted(ANA)
    assert after(box, 10) == NOTHING
    tree.grant(BO)
    assert after(box, 10) == granted(BO)


@pytest.mark.parametrize("tree", ["B4", "C1", "C2", "D"], indirect=True)
@pytest.mark.parametrize("first", ["snapshot", "folders", "both"])
def test_both_signs_of_one_grant_are_one_event(box: Box, disk: Disk, tree: Tree, first: str) -> None:
    box.look()
    if first != "folders":
        snapshot(box, disk, [], [ANA])
    if first != "snapshot":
        tree.grant(ANA)
    assert after(box, 10) == granted(ANA)
    snapshot(box, disk, [], [ANA])
    tree.grant(ANA)
    assert after(box, 10) == NOTHING


@pytest.mark.parametrize("side", ["inbox", "review"])
def test_half_of_a_grants_folders_is_no_grant(box: Box, disk: Disk, side: str) -> None:
    """A submission alone makes the inbox folder: only both together mean that the owner added the peer."""
    box.look()
    disk.write(TREES["D"](disk).base / side / ANA / "syft.pub.yaml", "rules: []\n")
    assert after(box, 10) == NOTHING


@pytest.mark.parametrize("tree", ["C1", "C2", "D"], indirect=True)
def test_the_first_submission_of_a_peer_is_no_request(box: Box, tree: Tree) -> None:
    box.look()
    tree.submit()
    assert after(box, 10) == Counter({("job_submitted", "owner", OWNER): 1, ("job_submitted", "submitter", ANA): 1})


# What proves nothing


@pytest.mark.parametrize("error", [None, "no network"])
def test_an_empty_list_proves_nothing(box: Box, disk: Disk, error: str | None) -> None:
    """A failed sync leaves the lists wrongly empty: nobody is gone, and nobody is new again."""
    box.look()
    snapshot(box, disk, [ANA], [BO])
    assert after(box, 10) == requested(ANA) + granted(BO)
    snapshot(box, disk, [], [], sync_error=error)
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA], [BO])
    assert after(box, 10) == NOTHING


TORN = [b"", b'{"snapshot": {"peer_em', b"\0" * 100, b"[]", b"null", b'"text"', b"[" * 100_000, b"\xff\xfe"]


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_snapshot_says_nothing_until_it_is_whole(box: Box, disk: Disk, torn: bytes) -> None:
    box.look()
    snapshot(box, disk, [ANA])
    assert after(box, 10) == requested(ANA)
    disk.write(box.snapshot, torn)
    disk.write(notify_state(box), torn)
    disk.write(box.root / ".syft" / "peers" / "x.json", torn)
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA, BO])
    assert after(box, 10) == requested(BO)


@pytest.fixture
def parts(box: Box) -> Iterator[Parts]:
    parts = box.parts()
    yield parts
    parts.close()


def test_one_process_sees_a_torn_snapshot_become_whole(box: Box, disk: Disk, parts: Parts) -> None:
    """Read again only when it changed; torn at one look, told at the next."""
    parts.look_once(None)
    for content, expected in ((b"", NOTHING), (None, requested(ANA)), (b"{", NOTHING)):
        box.clock.advance(10)
        if content is None:
            snapshot(box, disk, [ANA])
        else:
            disk.write(box.snapshot, content)
        parts.look_once(box.clock.now)
        assert told(box) == expected


ODD: list[Any] = [7, None, {}, ANA, [ANA, 7, None, [], {}], {ANA: True}]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_wrong_types_in_a_snapshot_stop_nobody(box: Box, disk: Disk, value: Any) -> None:
    """X11: types are checked."""
    box.look()
    disk.write(box.snapshot, json.dumps({"snapshot": {"peer_emails": value, "approved_peer_emails": value}}))
    disk.write(notify_state(box), json.dumps({"peer_snapshot": value, "notified_jobs": value}))
    disk.write(box.root / ".syft" / "peers" / "x.json", json.dumps({"email": value}))
    disk.write(box.root / ".syft" / "peers" / "bo.json", json.dumps({"email": BO}))
    found = after(box, 10)
    assert found & requested(BO) == requested(BO)
    assert {recipient for _, _, recipient in found} <= {OWNER, ANA, BO}


@pytest.mark.parametrize(
    "address",
    [
        "no address",
        "a@b\nBcc: eve@else.example",
        "a@b, eve@else.example",
        "Eve <eve@else.example>",
        "<script>@x.example",
        "a@" + "b" * 300,
        "\u202eana@x.example",
        "@",
        "",
    ],
)
def test_what_is_no_address_is_no_peer(box: Box, disk: Disk, address: str) -> None:
    """X11: one bare address or nothing."""
    box.look()
    snapshot(box, disk, [address, ANA])
    disk.write(box.root / ".syft" / "peers" / "x.json", json.dumps({"email": address}))
    assert after(box, 10) == requested(ANA)


def test_links_and_pipes_among_peer_files_stop_nobody(box: Box, disk: Disk, tmp_path: Path) -> None:
    """X11: no symlink followed, regular files only."""
    box.look()
    peers = box.root / ".syft" / "peers"
    (tmp_path / "eve.json").write_text(json.dumps({"email": EVE}))
    disk.link(peers / "linked.json", tmp_path / "eve.json")
    os.mkfifo(peers / "pipe.json")
    (peers / "folder.json").mkdir()
    old_peer_file(disk, ANA)
    assert after(box, 10) == requested(ANA)


# The first look


def test_a_first_look_tells_grants_to_nobody(box: Box, disk: Disk) -> None:
    """Existing grants count as told."""
    snapshot(box, disk, [], [ANA])
    TREES["D"](disk).grant(BO)
    assert after(box, 10) == NOTHING
    assert after(box, 10) == NOTHING


def test_a_first_look_tells_waiting_requests_to_the_owner_alone(box: Box, disk: Disk) -> None:
    """Waiting peer requests join the one catch-up; the peers hear nothing."""
    snapshot(box, disk, [ANA, BO], [EVE])
    tree = TREES["D"](disk)
    tree.submit(by=EVE)
    assert after(box, 10) == Counter({("digest", "owner", OWNER): 1})
    (mail,) = box.mails()
    expected = [entity_id("peer", OWNER, ANA), entity_id("peer", OWNER, BO), tree.entity(by=EVE)]
    assert sorted(mail.entities) == sorted(expected)
    assert all(peer in mail.text for peer in (ANA, BO, EVE))
    assert after(box, 10) == NOTHING


def test_a_request_of_the_first_look_is_told_when_it_is_granted(box: Box, disk: Disk) -> None:
    snapshot(box, disk, [ANA])
    after(box, 10)
    snapshot(box, disk, [], [ANA])
    assert after(box, 10) == granted(ANA)


def test_peers_may_be_switched_off(box: Box, disk: Disk) -> None:
    notify = {"interval": 1, "monitor_peers": False, "sync_state_path": str(box.snapshot)}
    box.configure({"notify": notify})
    box.look()
    snapshot(box, disk, [ANA], [BO])
    TREES["D"](disk).grant(EVE)
    assert after(box, 10) == NOTHING


# Whom a known peer's jobs may be told to


@pytest.mark.parametrize("tree", ["A", "B1", "B2", "B3"], indirect=True)
@pytest.mark.parametrize("source", ["requested", "granted", "notify state", "peer file", "folders"])
def test_a_known_peer_that_a_job_claims_is_mailed(box: Box, disk: Disk, tree: Tree, source: str) -> None:
    """A to B3 name no submitter in the path: mail goes to the claimed address only if the owner has added that peer.

    Somebody who only asks to be a peer is not one.
    """
    match source:
        case "requested":
            snapshot(box, disk, [ANA])
        case "granted":
            snapshot(box, disk, [], [ANA])
        case "notify state":
            disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA]}))
        case "peer file":
            old_peer_file(disk, ANA)
        case _:
            TREES["D"](disk).grant(ANA)
    after(box, 10)
    tree.submit(name="known", by=ANA.upper())
    tree.submit(name="unknown", by=EVE)
    expected = Counter({("job_submitted", "owner", OWNER): 2})
    if source not in {"requested", "notify state"}:
        expected["job_submitted", "submitter", ANA] = 1
    assert after(box, 10) == expected
