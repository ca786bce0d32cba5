"""Reminders of jobs that wait or run for too long."""

from __future__ import annotations

import pytest

from tests.support import ANA, OWNER, Box, delete_ledger, scan_for_hours
from tests.trees import TREES, Disk, Tree

HOUR = 3600.0


@pytest.fixture
def tree(box: Box) -> Tree:
    box.configure({"reminders": {"job_waiting": ["2h", "1d"], "job_long_running": "3h"}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.scan()
    return tree


@pytest.mark.thorough
def test_waiting_job_reminds_the_owner_once_per_threshold(box: Box, tree: Tree) -> None:
    """X08"""
    tree.submit("survey", ANA)
    box.clock.advance(10)
    box.scan()
    assert scan_for_hours(box, 1, step=1) == []
    assert scan_for_hours(box, 10, step=2) == [("job_waiting", OWNER)]
    assert scan_for_hours(box, 30, step=5) == [("job_waiting", OWNER)]
    assert box.mails()[-1].text.startswith("● Waiting for your review for 1 day\r\n")


def test_reminder_repeats_what_the_owner_needs_to_decide(box: Box, tree: Tree) -> None:
    """X08: what the job requests, and the call that selects it."""
    config = {"entrypoint": "main.py", "dependencies": ["pandas"], "datasets": {OWNER: ["ages"]}}
    tree.submit("survey", ANA, config=config)
    box.clock.advance(10)
    box.scan()
    scan_for_hours(box, 4, step=2)
    text = box.mails()[-1].text.replace("\r\n", "\n")

    assert 'Entry point:  "main.py"\nInstalls:\n    "pandas" (any version)\n' in text
    assert 'Requests data:\n    "ages"\n' in text
    assert f"and job.submitted_by == '{ANA}'\n        and job.status == 'pending'\n    )\n    job.approve()" in text


def test_rejected_job_causes_no_reminder(box: Box, tree: Tree) -> None:
    """X08"""
    tree.submit("survey", ANA)
    box.clock.advance(10)
    box.scan()
    tree.reject("survey", ANA, reason="no")
    box.clock.advance(10)
    box.scan()
    assert scan_for_hours(box, 30, step=5) == []


def test_long_run_is_reported_once_and_an_ended_run_never(box: Box, tree: Tree) -> None:
    """N13"""
    for name in ("slow", "quick"):
        tree.submit(name, ANA)
        tree.approve(name, ANA)
    box.clock.advance(10)
    box.scan()
    tree.run("quick", ANA)
    box.clock.advance(10)
    box.scan()
    assert scan_for_hours(box, 12, step=3) == [("job_long_running", OWNER)]
    assert box.mails()[-1].entities == [tree.entity("slow", ANA)]


def test_job_older_than_the_first_scan_causes_no_reminder(box: Box, tree: Tree) -> None:
    box.home.state.unlink()
    box.home.outbox.unlink()
    tree.submit("old", ANA)
    box.clock.advance(30 * HOUR)
    box.last_scan = None
    box.scan()
    box.scan()

    assert [mail.event for mail in box.mails()] == ["digest"]


def test_ledger_lost_after_a_reminder_repeats_nothing(box: Box, tree: Tree) -> None:
    """X02: the job was approved before the first scan, and the outbox has only its reminder."""
    delete_ledger(box)
    box.home.outbox.unlink()
    tree.submit("old", ANA)
    tree.approve("old", ANA)
    box.clock.advance(10)
    box.scan()
    assert scan_for_hours(box, 4, step=2) == [("job_long_running", OWNER)]
    delete_ledger(box)

    assert scan_for_hours(box, 1, step=1) == []
