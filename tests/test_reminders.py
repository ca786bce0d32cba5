"""A job that waits, or runs on, for too long."""

from __future__ import annotations

import pytest

from tests.support import ANA, OWNER, Box, lose_ledger
from tests.trees import TREES, Disk, Tree

HOUR = 3600.0


@pytest.fixture
def tree(box: Box) -> Tree:
    box.configure({"reminders": {"job_waiting": ["2h", "1d"], "job_long_running": "3h"}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.look()
    return tree


def pass_hours(box: Box, hours: int) -> list[tuple[str, str]]:
    """Look every half hour, as often as it takes; what was told meanwhile."""
    box.new_mails()
    for _ in range(2 * hours):
        box.clock.advance(HOUR / 2)
        box.look()
    return [(mail.event, mail.to) for mail in box.new_mails()]


def test_the_owner_is_reminded_once_for_each_limit_until_the_owner_acts(box: Box, tree: Tree) -> None:
    """X08"""
    tree.submit("survey", ANA)
    box.clock.advance(10)
    box.look()
    assert pass_hours(box, 1) == []
    assert pass_hours(box, 10) == [("job_waiting", OWNER)]
    assert pass_hours(box, 30) == [("job_waiting", OWNER)]
    assert "has been waiting for 24 hours" in box.mails()[-1].text


def test_who_has_acted_is_not_reminded(box: Box, tree: Tree) -> None:
    """X08"""
    tree.submit("survey", ANA)
    box.clock.advance(10)
    box.look()
    tree.reject("survey", ANA, reason="no")
    box.clock.advance(10)
    box.look()
    assert pass_hours(box, 30) == []


def test_a_run_that_goes_on_is_told_once_and_stops_when_it_has_ended(box: Box, tree: Tree) -> None:
    """N13"""
    for name in ("slow", "quick"):
        tree.submit(name, ANA)
        tree.approve(name, ANA)
    box.clock.advance(10)
    box.look()
    tree.run("quick", ANA)
    box.clock.advance(10)
    box.look()
    assert pass_hours(box, 12) == [("job_long_running", OWNER)]
    assert box.mails()[-1].entities == [tree.entity("slow", ANA)]


def test_what_was_so_before_the_first_look_is_no_news(box: Box, tree: Tree) -> None:
    box.home.state.unlink()
    box.home.outbox.unlink()
    tree.submit("old", ANA)
    box.clock.advance(30 * HOUR)
    box.last_look = None
    box.look()
    box.look()

    assert [mail.event for mail in box.mails()] == ["digest"]


def test_a_ledger_that_is_lost_after_a_reminder_tells_nothing_of_what_was_before_it(box: Box, tree: Tree) -> None:
    """X02: a job that had been approved at the first look, and of which the outbox knows the reminder alone."""
    lose_ledger(box)
    box.home.outbox.unlink()
    tree.submit("old", ANA)
    tree.approve("old", ANA)
    box.clock.advance(10)
    box.look()
    assert pass_hours(box, 4) == [("job_long_running", OWNER)]
    lose_ledger(box)

    assert pass_hours(box, 1) == []
