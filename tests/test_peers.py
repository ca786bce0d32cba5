"""Peers: the traces that requests and grants leave on the owner's machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.identifiers import entity_id
from syftnotify.runtime.container import App
from syftnotify.sources.syftbox.peers import PeerScanner
from tests.support import ANA, BO, OWNER, Box, Sent, lose_ledger
from tests.trees import TREES, Disk, ReviewTree, Tree

NOTHING: Counter[Sent] = Counter()
EVE = "eve@else.example"


@pytest.fixture
def disk(box: Box) -> Disk:
    return Disk(box.root, box.clock.time)


@pytest.fixture
def tree(request: pytest.FixtureRequest, disk: Disk) -> Tree:
    return TREES[request.param](disk)


def requested(peer: str) -> Counter[Sent]:
    return Counter({("peer_requested", "owner", OWNER): 1, ("peer_requested", "submitter", peer): 1})


def granted(peer: str) -> Counter[Sent]:
    return Counter({("peer_granted", "submitter", peer): 1})


def told(box: Box) -> Counter[Sent]:
    return Counter(mail.told for mail in box.new_mails())


def after(box: Box, seconds: float) -> Counter[Sent]:
    box.clock.advance(seconds)
    box.look()
    return told(box)


def snapshot(box: Box, disk: Disk, asking: list[str], accepted: list[str] | None = None, **more: Any) -> None:
    """What syft-bg's sync writes every ten seconds, in place."""
    state = {
        "notified_jobs": {},
        "snapshot": {
            "sync_time": box.clock.now,
            "sync_count": 1,
            "sync_error": None,
            "job_names": [],
            "peer_emails": [*asking, *(accepted or [])],
            "approved_peer_emails": accepted or [],
            "own_version": {"syft_client_version": "0.10.0", "protocol_version": "1.0.0"},
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


WITH_FOLDERS = pytest.mark.parametrize("tree", ["B4", "C1", "C2", "D"], indirect=True)


@WITH_FOLDERS
def test_folders_after_a_recorded_request_are_its_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """E: told to the peer once."""
    box.look()
    snapshot(box, disk, [ANA, BO])
    after(box, 10)
    tree.grant(ANA)
    assert after(box, 10) == granted(ANA)
    assert after(box, 10) == NOTHING
    tree.grant(BO)
    assert after(box, 10) == granted(BO)


@WITH_FOLDERS
@pytest.mark.parametrize("has_snapshot", [True, False])
def test_a_peer_whom_the_owner_adds_gets_no_mail(box: Box, disk: Disk, tree: Tree, has_snapshot: bool) -> None:
    """E: the owner's own `add_peer` makes the folders of a grant, and nobody has asked."""
    if has_snapshot:
        snapshot(box, disk, [BO])
    box.look()
    box.new_mails()
    tree.grant(ANA)
    assert after(box, 10) == NOTHING
    assert after(box, 10) == NOTHING


@WITH_FOLDERS
def test_folders_that_are_older_than_the_request_are_no_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """E: the owner added the peer, who then asks: only the snapshot shows when both are done."""
    box.look()
    tree.grant(ANA)
    after(box, 10)
    snapshot(box, disk, [ANA])
    assert after(box, 10) == requested(ANA)
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [], [ANA])
    assert after(box, 10) == granted(ANA)


@WITH_FOLDERS
def test_a_waiting_request_of_a_first_look_keeps_old_folders_out(box: Box, disk: Disk, tree: Tree) -> None:
    """E"""
    snapshot(box, disk, [ANA])
    tree.grant(ANA)
    assert after(box, 10) == Counter({("digest", "owner", OWNER): 1})
    assert after(box, 10) == NOTHING


@WITH_FOLDERS
def test_folders_count_without_any_snapshot_where_the_owner_says_so(box: Box, disk: Disk, tree: Tree) -> None:
    """E: `notify.peers_from_folders`."""
    box.configure(notify={"peers_from_folders": True})
    box.look()
    tree.grant(ANA)
    assert after(box, 10) == granted(ANA)
    snapshot(box, disk, [])
    tree.grant(BO)
    assert after(box, 10) == NOTHING, "there is a snapshot now"


@pytest.mark.parametrize("tree", ["C1", "C2", "D"], indirect=True)
def test_a_received_job_of_a_stranger_makes_no_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """C1: the owner's client makes `review/<scientist>/<job>/` for every job that it receives."""
    box.configure(notify={"peers_from_folders": True})
    tree.grant(ANA)
    box.look()
    tree.adds_peers = False
    tree.submit(by=EVE)
    assert isinstance(tree, ReviewTree)
    tree.receive(by=EVE)
    assert after(box, 10) == Counter({("job_submitted", "owner", OWNER): 1})


@WITH_FOLDERS
@pytest.mark.parametrize("first", ["snapshot", "folders", "both"])
def test_both_signs_of_one_grant_are_one_event(box: Box, disk: Disk, tree: Tree, first: str) -> None:
    box.look()
    if first == "folders":
        snapshot(box, disk, [ANA])
        after(box, 10)
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
    box.configure(notify={"peers_from_folders": True})
    box.look()
    disk.write(TREES["D"](disk).base / side / ANA / "syft.pub.yaml", "rules: []\n")
    assert after(box, 10) == NOTHING


@pytest.mark.parametrize("tree", ["C1", "C2", "D"], indirect=True)
def test_the_first_submission_of_a_peer_is_no_request(box: Box, tree: Tree) -> None:
    box.look()
    tree.submit()
    assert after(box, 10) == Counter({("job_submitted", "owner", OWNER): 1, ("job_submitted", "submitter", ANA): 1})


# Asking again


def asks_again(box: Box, disk: Disk, times: int, **more: Any) -> Counter[Sent]:
    """ANA is absent from so many snapshots, and then asks."""
    for _ in range(times):
        snapshot(box, disk, [], [BO], **more)
        assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA], [BO])
    return after(box, 10)


@pytest.fixture
def acquainted(box: Box, disk: Disk) -> None:
    """ANA has asked, BO is accepted."""
    snapshot(box, disk, [], [BO])
    box.look()
    snapshot(box, disk, [ANA], [BO])
    assert after(box, 10) == requested(ANA)


@pytest.mark.usefixtures("acquainted")
def test_a_peer_who_asks_again_after_three_snapshots_is_told_again(box: Box, disk: Disk) -> None:
    """E: through restarts, for every look here is one of a fresh process."""
    assert asks_again(box, disk, 3) == requested(ANA)
    assert after(box, 10) == NOTHING
    assert asks_again(box, disk, 5) == requested(ANA)
    assert after(box, 10) == NOTHING


@pytest.mark.usefixtures("acquainted")
def test_a_peer_absent_from_two_snapshots_has_not_asked_again(box: Box, disk: Disk) -> None:
    """E: the count begins anew at each presence."""
    assert asks_again(box, disk, 2) == NOTHING
    assert asks_again(box, disk, 2) == NOTHING


@pytest.mark.usefixtures("acquainted")
def test_one_snapshot_seen_three_times_counts_once(box: Box, disk: Disk) -> None:
    """E: snapshots are counted, not scans."""
    snapshot(box, disk, [], [BO])
    for _ in range(5):
        assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA], [BO])
    assert after(box, 10) == NOTHING


@pytest.mark.usefixtures("acquainted")
def test_failed_syncs_are_no_absence(box: Box, disk: Disk) -> None:
    """E"""
    assert asks_again(box, disk, 5, sync_error="no network") == NOTHING


@pytest.mark.usefixtures("acquainted")
@pytest.mark.parametrize(("version", "told_again"), [(None, False), ({"protocol_version": "1"}, True)])
def test_an_empty_list_is_an_absence_where_it_is_complete(box: Box, disk: Disk, version: Any, told_again: bool) -> None:
    """E: syft-bg fills in its own version after the lists; when reading them failed, it is missing."""
    for _ in range(3):
        snapshot(box, disk, [], own_version=version)
        assert after(box, 10) == NOTHING
    snapshot(box, disk, [ANA])
    assert after(box, 10) == (requested(ANA) if told_again else NOTHING)


@pytest.mark.usefixtures("acquainted")
def test_the_grant_of_a_second_request_is_told_again(box: Box, disk: Disk) -> None:
    """E: and old folders are no sign of it."""
    snapshot(box, disk, [], [ANA, BO])
    TREES["D"](disk).grant(ANA)
    assert after(box, 10) == granted(ANA)
    assert asks_again(box, disk, 3) == requested(ANA)
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [], [ANA, BO])
    assert after(box, 10) == granted(ANA)
    assert after(box, 10) == NOTHING


@pytest.mark.usefixtures("acquainted")
def test_a_lost_ledger_keeps_a_second_request_told(box: Box, disk: Disk) -> None:
    """E: the outbox knows which request was the last."""
    assert asks_again(box, disk, 3) == requested(ANA)
    lose_ledger(box)
    assert after(box, 10) == NOTHING
    snapshot(box, disk, [], [ANA, BO])
    assert after(box, 10) == granted(ANA)


# Which snapshot


def home_of_syft_bg(box: Box, disk: Disk, config: str) -> None:
    disk.write(box.snapshot.parent.parent / "config.yaml", config)


@pytest.mark.parametrize(
    "config",
    [
        f"do_email: {EVE}\n",
        f"sync: {{do_email: {EVE}}}\nnotify: {{do_email: {EVE}}}\ndo_email: {OWNER}\n",
        "",
        "a: [\n",
    ],
    ids=["another owner", "another owner's service", "torn", "no YAML"],
)
def test_state_files_of_another_owner_are_ignored(box: Box, disk: Disk, config: str) -> None:
    """E: whose they are stands in the config.yaml beside them; while that cannot be read, nobody is mailed."""
    home_of_syft_bg(box, disk, config)
    box.look()
    snapshot(box, disk, [ANA], [BO])
    disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA]}))
    assert after(box, 10) == NOTHING
    assert "another" not in config or "belongs to" in box.notify("doctor").stdout
    home_of_syft_bg(box, disk, f"do_email: {OWNER.upper()}\n")
    assert after(box, 10) == requested(ANA) + granted(BO)


def test_a_torn_configuration_changes_no_owner(box: Box, disk: Disk, parts: App) -> None:
    """E: what was read before still holds."""
    home_of_syft_bg(box, disk, f"do_email: {OWNER}\n")
    parts.run_once(None)
    home_of_syft_bg(box, disk, "")
    snapshot(box, disk, [ANA])
    box.clock.advance(10)
    parts.run_once(box.clock.now)
    assert told(box) == requested(ANA)


def written_at(disk: Disk, folder: Path, ago: float, asking: list[str], **more: Any) -> Path:
    path = folder / "sync" / "state.json"
    lists = {"peer_emails": asking, "approved_peer_emails": []}
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
@pytest.mark.parametrize("turned", [False, True])
def test_the_newest_usable_snapshot_decides_alone(
    disk: Disk, tmp_path: Path, old: dict[str, Any], new: dict[str, Any], turned: bool
) -> None:
    """E: what the other one lists is not merged."""
    paths = [
        written_at(disk, tmp_path / "old", asking=[EVE], **old),
        written_at(disk, tmp_path / "new", asking=[ANA], **new),
    ]
    reader = PeerScanner(disk.root, OWNER, tuple(paths[::-1] if turned else paths), (), disk.clock)
    assert [peer.address for peer in reader.scan()] == [ANA]
    assert reader.status is not None
    assert reader.status.path == str(paths[1])


def test_what_an_old_snapshot_lists_is_still_true(box: Box, disk: Disk) -> None:
    """E: facts do not expire; syft-bg may have stopped right after it wrote the request down."""
    box.look()
    snapshot(box, disk, [ANA], sync_time=box.clock.now - 86400)
    assert after(box, 10) == requested(ANA)


def test_a_notify_state_counts_only_without_a_usable_snapshot(box: Box, disk: Disk) -> None:
    """E: it is a copy, and keeps what was withdrawn since."""
    snapshot(box, disk, [])
    box.look()
    disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA]}))
    snapshot(box, disk, [BO])
    assert after(box, 10) == requested(BO)
    snapshot(box, disk, [BO], sync_error="no network")
    assert after(box, 10) == requested(ANA)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (None, "there is no sync snapshot of syft-bg at "),
        ({"ago": 3600}, "was 60 minutes ago"),
        ({"sync_error": "invalid\x1b[31m grant"}, "failed: invalid\\x1b[31m grant"),
        ({"sync_time": None}, "has no valid sync_time"),
        ({"sync_time": True}, "has no valid sync_time"),
        ({"ago": -3600}, "lies in the future"),
    ],
)
def test_status_and_doctor_show_why_peers_cannot_be_noticed(now: Box, more: Any, problem: str) -> None:
    """E: and it is no reason to call the worker unhealthy."""
    disk = Disk(now.root)
    if more is not None:
        moment = {"sync_time": now.clock.now - more.pop("ago")} if "ago" in more else {}
        snapshot(now, disk, [ANA], **moment, **more)
    now.notify("start", check=0)
    status = json.loads(now.notify("status", "--json", check=0).stdout)
    assert problem in status["peers_source"]["problem"]
    assert status["peers_source"]["usable"] is False
    wanted = f"peer notifications cannot be sent: {status['peers_source']['problem']}"
    assert any(notice.startswith(wanted) for notice in status["notices"])
    assert f"{wanted}; run syft-bg" in plainly(now.notify("status", check=0))
    assert plainly(now.notify("doctor")).count(wanted) == 1


def test_status_names_a_usable_snapshot(now: Box) -> None:
    """E"""
    snapshot(now, Disk(now.root), [ANA])
    now.notify("start", check=0)
    status = json.loads(now.notify("status", "--json", check=0).stdout)
    assert status["peers_source"]["usable"] is True
    assert status["peers_source"]["path"] == str(now.snapshot)
    assert not any("peer" in notice for notice in status["notices"])
    assert "peers: 1 peer, by the sync snapshot in" in plainly(now.notify("doctor"))


@pytest.fixture
def now(box: Box) -> Box:
    """The box of the real command, whose clock is the machine's."""
    box.clock.now = time.time()
    return box


def plainly(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


# What proves nothing


@pytest.mark.parametrize("error", [None, "no network"])
def test_an_empty_list_proves_nothing(box: Box, disk: Disk, error: str | None) -> None:
    """A failed sync leaves the lists wrongly empty: nobody is gone, and nobody is new again."""
    box.look()
    snapshot(box, disk, [ANA], [BO])
    assert after(box, 10) == requested(ANA) + granted(BO)
    snapshot(box, disk, [], [], sync_error=error, own_version=None)
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
def parts(box: Box) -> Iterator[App]:
    parts = box.parts()
    yield parts
    parts.close()


def test_one_process_sees_a_torn_snapshot_become_whole(box: Box, disk: Disk, parts: App) -> None:
    """Read again only when it changed; torn at one look, told at the next."""
    parts.run_once(None)
    for content, expected in ((b"", NOTHING), (None, requested(ANA)), (b"{", NOTHING)):
        box.clock.advance(10)
        if content is None:
            snapshot(box, disk, [ANA])
        else:
            disk.write(box.snapshot, content)
        parts.run_once(box.clock.now)
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
