"""Scan schedule: when the worker scans, and whether fully."""

from __future__ import annotations

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.runtime.scan_schedule import ScanSchedule
from tests.support import Clock

INTERVAL = 30.0
EVENT = Event(EventKind.SYSTEM_ALERT, "worker/a", "1", "2027-01-11T08:00:00Z", {})


@pytest.fixture
def schedule(clock: Clock) -> ScanSchedule:
    """A schedule after a first scan that left nothing to rescan."""
    schedule = ScanSchedule(INTERVAL, monotonic=clock.monotonic)
    assert schedule.begin()
    schedule.finish(ScanReport())
    schedule.start()
    scan(schedule, ScanReport())
    return schedule


def scan(
    schedule: ScanSchedule, report: ScanReport | None, *, clock: Clock | None = None, seconds: float = 0.0
) -> bool:
    """One scan of that duration; whether it was a full one."""
    is_full = schedule.begin()
    if clock is not None:
        clock.advance(seconds)
    schedule.finish(report)
    return is_full


def planned(schedule: ScanSchedule, clock: Clock) -> float:
    """Seconds until the next scan, for a wait that begins now."""
    schedule.plan()
    return schedule.due - clock.monotonic()


def test_full_scan_is_due_every_interval(schedule: ScanSchedule, clock: Clock) -> None:
    """B02."""
    assert planned(schedule, clock) == INTERVAL
    clock.advance(INTERVAL - 1)
    assert not scan(schedule, ScanReport())
    assert planned(schedule, clock) == 1
    clock.advance(1)
    assert scan(schedule, ScanReport())
    assert planned(schedule, clock) == INTERVAL


def test_first_rescan_follows_the_start_after_a_second(clock: Clock) -> None:
    """B02: finds what changed during the first scan."""
    schedule = ScanSchedule(INTERVAL, monotonic=clock.monotonic)
    scan(schedule, ScanReport())
    schedule.start()

    assert planned(schedule, clock) == 1
    assert not scan(schedule, ScanReport())


def test_rescans_back_off_until_an_event_is_found(schedule: ScanSchedule, clock: Clock) -> None:
    """B02."""
    delays = []
    for report in (
        ScanReport(rescan_soon=True, events=[EVENT]),
        ScanReport(rescan_soon=True),
        ScanReport(rescan_soon=True),
        ScanReport(rescan_soon=True, events=[EVENT]),
        ScanReport(rescan_soon=True),
        None,
        ScanReport(rescan_soon=True),
    ):
        scan(schedule, report)
        delays.append(planned(schedule, clock))

    assert delays == [1, 2, 4, 1, 2, INTERVAL, 2]


def test_scan_after_a_failed_one_is_full(schedule: ScanSchedule, clock: Clock) -> None:
    """S16: the failed scan has consumed the list of changed paths."""
    assert not scan(schedule, None)
    assert scan(schedule, ScanReport())
    assert not scan(schedule, ScanReport())


def test_requested_full_scan_begins_a_new_interval(schedule: ScanSchedule, clock: Clock) -> None:
    """S16: folders that are watched from now on."""
    clock.advance(INTERVAL / 2)
    schedule.request_full_scan()

    assert scan(schedule, ScanReport())
    assert planned(schedule, clock) == INTERVAL


def test_wakeup_scans_soon_but_at_most_half_of_the_time(schedule: ScanSchedule, clock: Clock) -> None:
    """A03: a scan of ten seconds is followed by ten seconds without one."""
    schedule.plan()
    schedule.bring_forward()
    assert 0 < schedule.due - clock.monotonic() < 0.1

    scan(schedule, ScanReport(), clock=clock, seconds=10)
    schedule.plan()
    clock.advance(4)
    schedule.bring_forward()
    assert schedule.due - clock.monotonic() == pytest.approx(6)


def test_wakeup_does_not_postpone_a_scan(schedule: ScanSchedule, clock: Clock) -> None:
    scan(schedule, ScanReport(rescan_soon=True), clock=clock, seconds=10)
    due = planned(schedule, clock)
    schedule.bring_forward()

    assert schedule.due - clock.monotonic() == due
