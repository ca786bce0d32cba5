"""Quiet hours: whether they apply, and when they end."""

from __future__ import annotations

import time as clock
from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from syftnotify.core.quiet_hours import QuietHours

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
def test_quiet_hours_over_midnight_end_the_next_morning(now: str, until: str | None) -> None:
    """X06"""
    assert NIGHT.until(at(now)) == (at(until) if until else None)


def test_quiet_hours_within_one_day_end_on_it() -> None:
    noon = QuietHours(time(12), time(13), BERLIN)

    assert noon.until(at("2026-06-10T12:30")) == at("2026-06-10T13:00")
    assert noon.until(at("2026-06-10T13:00")) is None


def test_quiet_hours_belong_to_the_day_on_which_they_begin() -> None:
    """X06: Friday's lasts into Saturday."""
    friday = QuietHours(time(22), time(7), BERLIN, days=frozenset({4}))

    assert friday.until(at("2026-06-12T23:00")) == at("2026-06-13T07:00")
    assert friday.until(at("2026-06-13T06:00")) == at("2026-06-13T07:00")
    assert friday.until(at("2026-06-13T23:00")) is None


def test_quiet_hours_in_local_time_follow_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
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
