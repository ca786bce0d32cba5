"""Quiet hours defer notifications and then send one digest."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

import syftnotify
from syftnotify.core.text import iso
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.fixture
def night(box: Box) -> Tree:
    """A box at 23:00 in Berlin, with quiet hours until 07:00."""
    box.clock.now = at("2027-01-15T22:59")
    box.configure({"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    tree.grant(BO)
    box.scan()
    return tree


def test_events_in_quiet_hours_are_one_digest_afterwards(box: Box, night: Tree) -> None:
    """X06"""
    for name in ("one", "two"):
        box.clock.advance(60)
        night.submit(name, ANA)
        box.scan()
    assert box.mails() == []
    box.clock.now = at("2027-01-16T06:59")
    box.scan()
    assert box.mails() == []
    (event,) = json.loads(box.notify("why", "one", "--json", check=0).stdout)
    assert {one["not_before"] for one in event["notifications"]} == {iso(at("2027-01-16T07:00"))}

    box.clock.now = at("2027-01-16T07:00")
    box.scan()
    assert sorted(mail.sent for mail in box.mails()) == [("digest", "owner", OWNER), ("digest", "submitter", ANA)]
    assert all(sorted(mail.entities) == [night.entity(name, ANA) for name in ("one", "two")] for mail in box.mails())
    box.scan()
    assert len(box.mails()) == 2


def test_events_outside_quiet_hours_are_sent_at_once(box: Box, night: Tree) -> None:
    box.clock.now = at("2027-01-16T12:00")
    night.submit("one", ANA)
    box.clock.advance(10)
    box.scan()

    assert len(box.mails()) == 2


def test_urgent_event_does_not_wait_for_deferred_ones_of_its_job(box: Box, night: Tree) -> None:
    """X06: severe events are exempt, `job_failed` of an emitted event included."""
    night.submit("one", ANA)
    box.clock.advance(10)
    box.scan()
    night.approve("one", ANA)
    night.run("one", ANA, code=1)
    box.clock.advance(10)
    box.scan()

    syftnotify.emit("job_failed", "slurm/1", home=box.home.root)
    box.scan()

    assert sorted((mail.event, mail.to) for mail in box.mails()) == [
        ("job_failed", ANA),
        ("job_failed", OWNER),
        ("job_failed", OWNER),
    ]


def test_single_deferred_request_is_sent_afterwards_with_its_code(box: Box, night: Tree) -> None:
    night.submit("one", ANA)
    box.clock.advance(10)
    box.scan()
    box.clock.now = at("2027-01-16T07:00")
    box.scan()

    (mine,) = [mail for mail in box.mails() if mail.to == OWNER]
    assert mine.event == "job_submitted"
    assert "the mean of the ages" in mine.text
