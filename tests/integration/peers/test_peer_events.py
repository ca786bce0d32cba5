"""Events of peers: requests, grants, and requests after an absence."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from syftnotify.core.identifiers import entity_id
from tests.peer_traces import EVE, granted, notify_state, requested, write_old_peer_file, write_snapshot
from tests.scanning import NOTHING, on, scan_after
from tests.support import ANA, BO, OWNER, Box, Sent, delete_ledger
from tests.trees import TREES, Disk, ReviewTree, Tree

WITH_FOLDERS = on("D", thorough=["B4", "C1", "C2"])


def test_request_in_the_snapshot_is_notified_to_both_once(box: Box, disk: Disk) -> None:
    write_snapshot(box, disk, [])
    assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [ANA])
    assert scan_after(box, 10) == requested(ANA)
    (mail,) = [mail for mail in box.mails() if mail.audience == "owner"]
    assert ANA in mail.text
    assert mail.entities == [entity_id("peer", OWNER, ANA)]
    assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [ANA, BO])
    assert scan_after(box, 10) == requested(BO)


def test_request_in_the_notify_state_is_notified(box: Box, disk: Disk) -> None:
    """syft-bg's notifier stores the peers it found as `peer_snapshot`."""
    box.scan()
    disk.write(notify_state(box), json.dumps({"notified_jobs": {}, "peer_snapshot": [ANA]}))
    assert scan_after(box, 10) == requested(ANA)
    assert scan_after(box, 10) == NOTHING


def test_request_in_an_old_peer_file_is_notified(box: Box, disk: Disk) -> None:
    """The file's name is lossy: the address is in its content."""
    box.scan()
    write_old_peer_file(disk, "a.b_c@uni.example")
    assert scan_after(box, 10) == requested("a.b_c@uni.example")
    assert scan_after(box, 10) == NOTHING


def test_request_in_three_files_is_one_event(box: Box, disk: Disk) -> None:
    box.scan()
    write_snapshot(box, disk, [ANA])
    disk.write(notify_state(box), json.dumps({"peer_snapshot": [ANA.upper()]}))
    write_old_peer_file(disk, ANA)
    assert scan_after(box, 10) == requested(ANA)
    assert scan_after(box, 10) == NOTHING


# -- grants ------------------------------------------------------------------------------------------------------------


def test_grant_in_the_snapshot_is_notified_to_the_peer_once(box: Box, disk: Disk) -> None:
    box.scan()
    write_snapshot(box, disk, [ANA])
    scan_after(box, 10)
    write_snapshot(box, disk, [], [ANA])
    assert scan_after(box, 10) == granted(ANA)
    assert scan_after(box, 10) == NOTHING


@pytest.mark.thorough
@WITH_FOLDERS
def test_folders_after_a_recorded_request_are_its_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """E: notified once."""
    box.scan()
    write_snapshot(box, disk, [ANA, BO])
    scan_after(box, 10)
    tree.grant(ANA)
    assert scan_after(box, 10) == granted(ANA)
    assert scan_after(box, 10) == NOTHING
    tree.grant(BO)
    assert scan_after(box, 10) == granted(BO)


@WITH_FOLDERS
@pytest.mark.parametrize("has_snapshot", [True, False])
def test_peer_added_without_a_request_gets_no_mail(box: Box, disk: Disk, tree: Tree, has_snapshot: bool) -> None:
    """E: the owner's own `add_peer` makes the folders of a grant, and nobody has requested it."""
    if has_snapshot:
        write_snapshot(box, disk, [BO])
    box.scan()
    box.new_mails()
    tree.grant(ANA)
    assert scan_after(box, 10) == NOTHING
    assert scan_after(box, 10) == NOTHING


@WITH_FOLDERS
def test_folders_older_than_the_request_are_no_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """E: the owner added the peer, who then sends a request: only the snapshot shows when both are done."""
    box.scan()
    tree.grant(ANA)
    scan_after(box, 10)
    write_snapshot(box, disk, [ANA])
    assert scan_after(box, 10) == requested(ANA)
    assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [], [ANA])
    assert scan_after(box, 10) == granted(ANA)


@WITH_FOLDERS
def test_folders_of_a_request_at_the_baseline_are_no_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """E"""
    write_snapshot(box, disk, [ANA])
    tree.grant(ANA)
    assert scan_after(box, 10) == Counter({("digest", "owner", OWNER): 1})
    assert scan_after(box, 10) == NOTHING


@WITH_FOLDERS
def test_folders_without_a_snapshot_are_a_grant_if_configured(box: Box, disk: Disk, tree: Tree) -> None:
    """E: `notify.peers_from_folders`."""
    box.configure(notify={"peers_from_folders": True})
    box.scan()
    tree.grant(ANA)
    assert scan_after(box, 10) == granted(ANA)
    write_snapshot(box, disk, [])
    tree.grant(BO)
    assert scan_after(box, 10) == NOTHING, "there is a snapshot now"


@on("D", thorough=["C1", "C2"])
def test_received_job_of_a_stranger_is_no_grant(box: Box, disk: Disk, tree: Tree) -> None:
    """C1: the owner's client makes `review/<scientist>/<job>/` for every job that it receives."""
    box.configure(notify={"peers_from_folders": True})
    tree.grant(ANA)
    box.scan()
    tree.adds_peers = False
    tree.submit(by=EVE)
    assert isinstance(tree, ReviewTree)
    tree.receive(by=EVE)
    assert scan_after(box, 10) == Counter({("job_submitted", "owner", OWNER): 1})


@WITH_FOLDERS
@pytest.mark.parametrize("first", ["snapshot", "folders", "both"])
def test_grant_in_snapshot_and_folders_is_one_event(box: Box, disk: Disk, tree: Tree, first: str) -> None:
    box.scan()
    if first == "folders":
        write_snapshot(box, disk, [ANA])
        scan_after(box, 10)
    if first != "folders":
        write_snapshot(box, disk, [], [ANA])
    if first != "snapshot":
        tree.grant(ANA)
    assert scan_after(box, 10) == granted(ANA)
    write_snapshot(box, disk, [], [ANA])
    tree.grant(ANA)
    assert scan_after(box, 10) == NOTHING


@pytest.mark.parametrize("side", ["inbox", "review"])
def test_one_of_the_two_folders_is_no_grant(box: Box, disk: Disk, side: str) -> None:
    """A submission alone makes the inbox folder: only both mean that the owner added the peer."""
    box.configure(notify={"peers_from_folders": True})
    box.scan()
    disk.write(TREES["D"](disk).base / side / ANA / "syft.pub.yaml", "rules: []\n")
    assert scan_after(box, 10) == NOTHING


@on("D", thorough=["C1", "C2"])
def test_first_submission_of_a_peer_is_no_request(box: Box, tree: Tree) -> None:
    box.scan()
    tree.submit()
    assert scan_after(box, 10) == Counter(
        {("job_submitted", "owner", OWNER): 1, ("job_submitted", "submitter", ANA): 1}
    )


# -- requests after an absence -----------------------------------------------------------------------------------------


def request_after_absences(box: Box, disk: Disk, times: int, **more: Any) -> Counter[Sent]:
    """ANA is absent from so many snapshots, and then in one again."""
    for _ in range(times):
        write_snapshot(box, disk, [], [BO], **more)
        assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [ANA], [BO])
    return scan_after(box, 10)


@pytest.fixture
def known_peers(box: Box, disk: Disk) -> None:
    """ANA has sent a request, BO is approved."""
    write_snapshot(box, disk, [], [BO])
    box.scan()
    write_snapshot(box, disk, [ANA], [BO])
    assert scan_after(box, 10) == requested(ANA)


@pytest.mark.thorough
@pytest.mark.usefixtures("known_peers")
def test_request_after_three_absences_is_notified_again(box: Box, disk: Disk) -> None:
    """E: through restarts: each scan here is one of a new process."""
    assert request_after_absences(box, disk, 3) == requested(ANA)
    assert scan_after(box, 10) == NOTHING
    assert request_after_absences(box, disk, 5) == requested(ANA)
    assert scan_after(box, 10) == NOTHING


@pytest.mark.usefixtures("known_peers")
def test_request_after_two_absences_is_not_notified_again(box: Box, disk: Disk) -> None:
    """E: the count begins anew at each presence."""
    assert request_after_absences(box, disk, 2) == NOTHING
    assert request_after_absences(box, disk, 2) == NOTHING


@pytest.mark.usefixtures("known_peers")
def test_absence_from_one_snapshot_counts_once(box: Box, disk: Disk) -> None:
    """E: snapshots are counted, not scans."""
    write_snapshot(box, disk, [], [BO])
    for _ in range(5):
        assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [ANA], [BO])
    assert scan_after(box, 10) == NOTHING


@pytest.mark.usefixtures("known_peers")
def test_failed_syncs_are_no_absence(box: Box, disk: Disk) -> None:
    """E"""
    assert request_after_absences(box, disk, 5, sync_error="no network") == NOTHING


@pytest.mark.usefixtures("known_peers")
@pytest.mark.parametrize(("version", "is_repeated"), [(None, False), ({"protocol_version": "1"}, True)])
def test_empty_list_is_an_absence_if_it_is_complete(box: Box, disk: Disk, version: Any, is_repeated: bool) -> None:
    """E: syft-bg fills in its own version after the lists; when reading them failed, it is missing."""
    for _ in range(3):
        write_snapshot(box, disk, [], own_version=version)
        assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [ANA])
    assert scan_after(box, 10) == (requested(ANA) if is_repeated else NOTHING)


@pytest.mark.usefixtures("known_peers")
def test_grant_of_a_second_request_is_notified_again(box: Box, disk: Disk) -> None:
    """E: and old folders are no sign of it."""
    write_snapshot(box, disk, [], [ANA, BO])
    TREES["D"](disk).grant(ANA)
    assert scan_after(box, 10) == granted(ANA)
    assert request_after_absences(box, disk, 3) == requested(ANA)
    assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [], [ANA, BO])
    assert scan_after(box, 10) == granted(ANA)
    assert scan_after(box, 10) == NOTHING


@pytest.mark.usefixtures("known_peers")
def test_second_request_is_kept_after_a_lost_ledger(box: Box, disk: Disk) -> None:
    """E: the outbox has the number of the last request."""
    assert request_after_absences(box, disk, 3) == requested(ANA)
    delete_ledger(box)
    assert scan_after(box, 10) == NOTHING
    write_snapshot(box, disk, [], [ANA, BO])
    assert scan_after(box, 10) == granted(ANA)


# -- baseline ----------------------------------------------------------------------------------------------------------


def test_baseline_notifies_no_grants(box: Box, disk: Disk) -> None:
    """Existing grants count as notified."""
    write_snapshot(box, disk, [], [ANA])
    TREES["D"](disk).grant(BO)
    assert scan_after(box, 10) == NOTHING
    assert scan_after(box, 10) == NOTHING


def test_baseline_requests_join_the_catch_up_of_the_owner(box: Box, disk: Disk) -> None:
    """Waiting peer requests join the one catch-up; the peers get nothing."""
    write_snapshot(box, disk, [ANA, BO], [EVE])
    tree = TREES["D"](disk)
    tree.submit(by=EVE)
    assert scan_after(box, 10) == Counter({("digest", "owner", OWNER): 1})
    (mail,) = box.mails()
    expected = [entity_id("peer", OWNER, ANA), entity_id("peer", OWNER, BO), tree.entity(by=EVE)]
    assert sorted(mail.entities) == sorted(expected)
    assert all(peer in mail.text for peer in (ANA, BO, EVE))
    assert scan_after(box, 10) == NOTHING


def test_baseline_request_is_notified_when_it_is_granted(box: Box, disk: Disk) -> None:
    write_snapshot(box, disk, [ANA])
    scan_after(box, 10)
    write_snapshot(box, disk, [], [ANA])
    assert scan_after(box, 10) == granted(ANA)


def test_monitor_peers_off_notifies_no_peer(box: Box, disk: Disk) -> None:
    notify = {"interval": 1, "monitor_peers": False, "sync_state_path": str(box.snapshot)}
    box.configure({"notify": notify})
    box.scan()
    write_snapshot(box, disk, [ANA], [BO])
    TREES["D"](disk).grant(EVE)
    assert scan_after(box, 10) == NOTHING
