"""Times that users enter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from syftnotify.services.arguments import UsageError, parse_end


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
def test_end_at_a_time_of_day_is_the_next_one(in_zone: Callable[[str], None], now: str, text: str, end: str) -> None:
    in_zone("Europe/Berlin")

    assert parse_end(text, datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(end).timestamp()


@pytest.mark.parametrize("text", ["24:00", "23:30:10", "late"])
def test_end_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        parse_end(text, 0.0)
