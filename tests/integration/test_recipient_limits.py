"""The limit of new recipients a day."""

from __future__ import annotations

from collections import Counter

import pytest

from syftnotify.sources.spool import emit
from syftnotify.store.outbox.store import SqliteOutbox
from tests.integration.submitter_trees import counts, scan_after, snapshot, submitters, withheld
from tests.support import ANA, BO, OWNER, Box, tally
from tests.trees import TREES, Disk, Tree


def submit_all(tree: Tree, count: int, domain: str = "crowd.example") -> list[str]:
    crowd = [f"ds{number:02}@{domain}" for number in range(count)]
    for who in crowd:
        tree.submit(by=who)
    return crowd


@pytest.mark.thorough
def test_twenty_new_recipients_a_day_are_mailed(box: Box, unknown_tree: Tree) -> None:
    """C1: known ones included; the owner gets every request, and one alert a day."""
    unknown_tree.adds_peers = True
    crowd = submit_all(unknown_tree, 23)
    sent = scan_after(box)
    assert submitters(sent) == set(crowd[:20])
    assert sent["job_submitted", "owner", OWNER] == 23
    assert sent["system_alert", "owner", OWNER] == 1
    assert {item["recipient"] for item in withheld(box)} == set(crowd[20:])
    assert all("`recipients.new_per_day`" in item["reason"] for item in withheld(box))

    for who in (crowd[0], crowd[-1]):
        unknown_tree.approve(by=who)
    assert scan_after(box) == Counter({("job_approved", "submitter", crowd[0]): 1}), "no new recipient"
    submit_all(unknown_tree, 2, "later.example")
    assert scan_after(box, 3600)["system_alert", "owner", OWNER] == 0, "one alert a day"

    sent = scan_after(box, 86400)
    assert [sent["job_submitted", "submitter", who] for who in crowd[20:]] == [1, 1, 1]
    assert sent["job_approved", "submitter", crowd[-1]] == 1
    assert counts(box).withheld == 0
    assert scan_after(box, 86400) == Counter()


@pytest.mark.parametrize(("limit", "mailed"), [(0, 0), (1, 1), ("none", 3)])
def test_limit_of_new_recipients_is_configurable(box: Box, disk: Disk, limit: int | str, mailed: int) -> None:
    """C1"""
    box.configure({"recipients": {"new_per_day": limit}})
    box.scan()
    submit_all(TREES["D"](disk), 3)
    assert len(submitters(scan_after(box))) == mailed


def test_allowed_and_configured_recipients_are_not_limited(box: Box, disk: Disk) -> None:
    """C1"""
    box.configure({"recipients": {"new_per_day": 0, "allow": ["*@crowd.example"]}, "operator": [ANA]})
    box.scan()
    tree = TREES["D"](disk)
    crowd = submit_all(tree, 3)
    for who in (ANA, BO):
        tree.submit(by=who)
    assert submitters(scan_after(box)) == {*crowd, ANA}


def test_emitted_events_are_not_limited(box: Box, disk: Disk) -> None:
    """C1: their source is trusted."""
    box.configure({"recipients": {"new_per_day": 0}})
    box.scan()
    emit("job_completed", "run/1", user=ANA, home=box.home.root)
    assert submitters(scan_after(box)) == {ANA}


def test_requesting_peers_count_as_new_recipients(box: Box, disk: Disk) -> None:
    """C1: an attacker can make many requests."""
    box.configure({"recipients": {"new_per_day": 2}})
    snapshot(box, disk, [], [])
    box.scan()
    snapshot(box, disk, [f"ds{number}@crowd.example" for number in range(4)], [])
    sent = scan_after(box)
    assert sent["peer_requested", "owner", OWNER] == 4
    assert len(submitters(sent)) == 2
    assert sent["system_alert", "owner", OWNER] == 1


def test_mailed_address_is_not_new_after_pruning(box: Box, disk: Disk) -> None:
    """C1: also when the history is kept for a day only."""
    box.configure({"recipients": {"new_per_day": 1}, "retention": "1d"})
    box.scan()
    tree = TREES["D"](disk)
    tree.submit("first", by=ANA)
    assert submitters(scan_after(box)) == {ANA}
    box.clock.advance(10 * 86400)
    box.scan()
    box.clock.advance(7200)
    box.scan()
    outbox = SqliteOutbox(box.home.outbox)
    assert outbox.history.events(tree.entity("first", by=ANA)) == []
    outbox.close()
    tree.submit("second", by=BO)
    box.scan()
    tree.submit("third", by=ANA)
    assert submitters(scan_after(box)) == {ANA, BO}


def test_dry_run_shows_the_limit_and_changes_nothing(box: Box, disk: Disk) -> None:
    """C1"""
    box.configure({"recipients": {"new_per_day": 0}})
    box.scan()
    submit_all(TREES["D"](disk), 1)
    output = " ".join(box.notify("run", "--dry-run", check=0).stdout.split())
    assert "1 message would be sent" in output
    assert "not sent: above" in output
    assert counts(box) == tally()


def test_scientist_role_is_not_limited_for_its_own_address(box: Box, disk: Disk) -> None:
    """C1: the submitter of every job there is the recipient."""
    box.configure({"do_email": ANA, "role": "scientist", "recipients": {"new_per_day": 0}})
    box.scan()
    TREES["D"](disk, adds_peers=False).submit(by=ANA)
    assert scan_after(box) == Counter({("job_submitted", "submitter", ANA): 1})
