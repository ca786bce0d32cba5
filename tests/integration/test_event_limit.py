"""The limit of events of one submitter in a minute."""

from __future__ import annotations

import contextlib
from urllib.parse import unquote

import pytest
import yaml

from syftnotify.core.models import Event
from syftnotify.runtime.container import App
from syftnotify.runtime.event_limit import EVENTS_PER_MINUTE
from syftnotify.runtime.scan_report import ScanReport
from tests.support import ANA, BO, Box
from tests.trees import Disk, VersionedReviewTree


def scan(box: Box, parts: App, *, after: float) -> ScanReport:
    """One scan of the same process, so many seconds after the last."""
    box.clock.advance(after)
    report = parts.run_once(box.last_scan)
    box.last_scan = box.clock.now
    return report


@pytest.fixture
def versioned(box: Box) -> VersionedReviewTree:
    """A tree after its first scan, with two known scientists."""
    tree = VersionedReviewTree(Disk(box.root))
    tree.grant(ANA)
    tree.grant(BO)
    box.scan()
    return tree


@pytest.mark.thorough
def test_events_above_the_limit_are_detected_in_the_next_minute(box: Box, versioned: VersionedReviewTree) -> None:
    """A13: the jobs of other submitters are detected at once, and no event is lost."""
    for number in range(EVENTS_PER_MINUTE + 30):
        versioned.submit(f"job-{number:03}", ANA)
    versioned.submit("honest", BO)
    with contextlib.closing(box.open_app()) as parts:
        reports = [scan(box, parts, after=after) for after in (10, 20, 40)]

    submitters = [[event.entity.split("/")[-2] for event in report.events] for report in reports]
    assert sorted(map(unquote, submitters[0])) == [ANA] * EVENTS_PER_MINUTE + [BO]
    assert [(len(report.events), report.delayed) for report in reports] == [
        (EVENTS_PER_MINUTE + 1, 30),
        (0, 30),
        (30, 0),
    ]
    assert len({event.key for report in reports for event in report.events}) == EVENTS_PER_MINUTE + 31


@pytest.mark.thorough
def test_job_submitted_again_at_each_scan_is_limited(box: Box, versioned: VersionedReviewTree) -> None:
    """A13: `submitted_at` is rewritten 400 times in 100 seconds; the last submission is detected."""
    versioned.submit("changing", ANA)
    moments = [f"2027-01-15T08:{number // 60:02}:{number % 60:02}+00:00" for number in range(400)]
    config = versioned.job_folder("changing", ANA) / "config.yaml"
    events: list[Event] = []
    with contextlib.closing(box.open_app()) as parts:
        for moment in moments:
            settings = {**yaml.safe_load(config.read_text()), "submitted_at": moment}
            versioned.disk.write(config, yaml.safe_dump(settings))
            events += scan(box, parts, after=0.25).events
        events += scan(box, parts, after=60).events

    assert EVENTS_PER_MINUTE < len(events) <= 2 * EVENTS_PER_MINUTE + 1
    assert events[-1].occurrence == moments[-1]
