"""Times that users enter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from syftnotify.services.arguments import UsageError, parse_upcoming


@pytest.mark.parametrize(
    ("now", "text", "end"),
    [
        ("2026-11-28 22:00", "23:30", "2026-11-28 23:30"),
        ("2026-11-28 23:30", "23:30", "2026-11-29 23:30"),
        ("2026-11-28 23:59", "7:00", "2026-11-29 07:00"),
        ("2026-10-24 12:00", "08:00", "2026-10-25 08:00"),  # an hour is repeated in the night between
        ("2026-11-28 22:00", "2026-12-01", "2026-12-01 00:00"),
    ],
)
def test_time_of_day_is_the_next_one(in_zone: Callable[[str], None], now: str, text: str, end: str) -> None:
    in_zone("Europe/Berlin")

    assert parse_upcoming(text, datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(end).timestamp()


def test_time_of_day_in_a_repeated_hour_is_the_next_one(in_zone: Callable[[str], None]) -> None:
    """Clocks were set back from 03:00 to 02:00 in this night."""
    in_zone("Europe/Berlin")
    first, second = (datetime.fromisoformat("2026-10-25 02:15").replace(fold=fold).timestamp() for fold in (0, 1))

    assert parse_upcoming("02:30", first) == first + 15 * 60
    assert parse_upcoming("02:30", second) == second + 15 * 60
    assert parse_upcoming("02:15", first) == second


@pytest.mark.parametrize("text", ["24:00", "23:30:10", "2h", "late"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        parse_upcoming(text, 0.0)
