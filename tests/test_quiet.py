"""Quiet hours hold, and then tell in one message."""

from __future__ import annotations

import json
import time as clock
from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

import syftnotify
from syftnotify.core.quiet_hours import QuietHours
from syftnotify.core.text import iso
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7), BERLIN)


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-06-10T21:59", None),
        ("2026-06-10T22:00", "2026-06-11T07:00"),
        ("2026-06-11T03:00", "2026-06-11T07:00"),
        ("2026-06-11T06:59", "2026-06-11T07:00"),
        ("2026-06-11T07:00", None),
        # The nights in which the clock is changed are an hour shorter and longer.
        ("2026-03-29T01:30", "2026-03-29T07:00"),
        ("2026-10-25T02:30", "2026-10-25T07:00"),
    ],
)
def test_a_night_goes_over_midnight(now: str, until: str | None) -> None:
    """X06"""
    assert NIGHT.until(at(now)) == (at(until) if until else None)


def test_hours_of_one_day_end_on_it() -> None:
    noon = QuietHours(time(12), time(13), BERLIN)

    assert noon.until(at("2026-06-10T12:30")) == at("2026-06-10T13:00")
    assert noon.until(at("2026-06-10T13:00")) is None


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    """X06: Friday's lasts into Saturday."""
    friday = QuietHours(time(22), time(7), BERLIN, days=frozenset({4}))

    assert friday.until(at("2026-06-12T23:00")) == at("2026-06-13T07:00")
    assert friday.until(at("2026-06-13T06:00")) == at("2026-06-13T07:00")
    assert friday.until(at("2026-06-13T23:00")) is None


@pytest.fixture
def night(box: Box) -> Tree:
    """A box at 23:00 in Berlin, with quiet hours until 07:00."""
    box.clock.now = at("2027-01-15T22:59")
    box.configure({"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    tree.grant(BO)
    box.look()
    return tree


def test_what_happens_at_night_is_told_in_the_morning_in_one_message(box: Box, night: Tree) -> None:
    """X06"""
    for name in ("one", "two"):
        box.clock.advance(60)
        night.submit(name, ANA)
        box.look()
    assert box.mails() == []
    box.clock.now = at("2027-01-16T06:59")
    box.look()
    assert box.mails() == []
    (event,) = json.loads(box.notify("why", "one", "--json", check=0).stdout)
    assert {one["not_before"] for one in event["notifications"]} == {iso(at("2027-01-16T07:00"))}

    box.clock.now = at("2027-01-16T07:00")
    box.look()
    assert sorted(mail.told for mail in box.mails()) == [("digest", "owner", OWNER), ("digest", "submitter", ANA)]
    assert all(sorted(mail.entities) == [night.entity(name, ANA) for name in ("one", "two")] for mail in box.mails())
    box.look()
    assert len(box.mails()) == 2


def test_what_is_urgent_is_told_at_once(box: Box, night: Tree) -> None:
    """X06"""
    night.submit("one", ANA)
    box.clock.advance(10)
    box.look()
    syftnotify.emit("job_failed", "slurm/1", home=box.home.root)
    box.look()

    assert [(mail.event, mail.to) for mail in box.mails()] == [("job_failed", OWNER)]


def test_by_day_nothing_is_held(box: Box, night: Tree) -> None:
    box.clock.now = at("2027-01-16T12:00")
    night.submit("one", ANA)
    box.clock.advance(10)
    box.look()

    assert len(box.mails()) == 2


def test_what_is_urgent_does_not_wait_behind_what_is_held_of_the_same_job(box: Box, night: Tree) -> None:
    """X06"""
    night.submit("one", ANA)
    box.clock.advance(10)
    box.look()
    night.approve("one", ANA)
    night.run("one", ANA, code=1)
    box.clock.advance(10)
    box.look()

    assert sorted((mail.event, mail.to) for mail in box.mails()) == [("job_failed", ANA), ("job_failed", OWNER)]


def test_a_lone_request_comes_in_the_morning_with_its_code(box: Box, night: Tree) -> None:
    night.submit("one", ANA)
    box.clock.advance(10)
    box.look()
    box.clock.now = at("2027-01-16T07:00")
    box.look()

    (mine,) = [mail for mail in box.mails() if mail.to == OWNER]
    assert mine.event == "job_submitted"
    assert "the mean of the ages" in mine.text


def test_this_machines_zone_goes_with_its_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    clock.tzset()
    try:
        hours = QuietHours(time(22), time(7), None)
        for now, until in (("2026-01-10T22:30", "2026-01-11T07:00"), ("2026-07-10T22:30", "2026-07-11T07:00")):
            assert hours.until(at(now)) == at(until)
        assert hours.until(at("2026-07-11T07:30")) is None
    finally:
        monkeypatch.undo()
        clock.tzset()
