"""Quiet hours, reminders and digests with their defaults."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deliveries import scan_later, start_with
from tests.queries import emit_event
from tests.support import ANA, Box
from tests.trees import Tree


@pytest.mark.parametrize(
    ("settings", "notified"),
    [
        ({}, ["job_completed", "job_failed"]),
        ({"quiet_hours": {}}, ["job_failed"]),
        ({"quiet_hours": {"except": []}}, []),
        ({"quiet_hours": {"except": ["low"]}}, ["job_completed"]),
    ],
    ids=["unset", "usual", "all", "low passes"],
)
def test_quiet_hours_are_off_by_default_and_exempt_high_severity(
    box: Box, settings: dict[str, Any], notified: list[str]
) -> None:
    """X06: or what `except` lists. It is eight in the morning here."""
    hours = {name: {"from": "07:00", "to": "09:00", "zone": "UTC", **submitter} for name, submitter in settings.items()}
    box.configure(hours)
    for kind in ("job_completed", "job_failed"):
        emit_event(box, kind, kind)
    box.scan()

    assert sorted(mail.event for mail in box.mails()) == notified


HOUR = 3600.0


@pytest.mark.thorough
def test_reminders_are_off_by_default(box: Box, tree: Tree) -> None:
    """N13, X08: for a waiting and for a running job, for a month."""
    start_with(box, tree, {})
    for name in ("waits", "runs"):
        tree.submit(name, ANA)
    tree.approve("runs", ANA)
    scan_later(box)
    box.new_mails()
    for _ in range(5):
        scan_later(box, 6 * 24 * HOUR)

    assert box.new_mails() == []


@pytest.mark.thorough
def test_failures_become_a_digest_only_above_the_fixed_limit(box: Box) -> None:
    """X06: 200 in ten minutes; the rest is one digest."""
    box.configure({"digest": {"above": 2, "within": "60s", "every": "10m"}})
    for number in range(205):
        emit_event(box, "job_failed", f"run/{number}")
    box.scan()

    events = [mail.event for mail in box.mails()]
    assert (events.count("job_failed"), events.count("digest")) == (200, 1)
    (digest,) = [mail for mail in box.mails() if mail.event == "digest"]
    assert sorted(digest.entities) == [f"run/{number}" for number in range(200, 205)]


def test_include_high_puts_failures_into_digests(box: Box) -> None:
    """D10: array jobs with many failures."""
    box.configure({"digest": {"above": 2, "include_high": True}})
    for number in range(12):
        emit_event(box, "job_failed", f"run/{number}")
    box.scan()

    events = [mail.event for mail in box.mails()]
    assert (events.count("job_failed"), events.count("digest")) == (2, 1)
