"""The chart of the last day."""

from __future__ import annotations

from syftnotify.core.metrics import Sample
from syftnotify.web.page.status_routes import chart_of

NOW = 1_000_000.0
QUARTER = 900.0


def sample(quarters_ago: float, sent: int, failed: int = 0, age: float = 0.0) -> Sample:
    return Sample(NOW - quarters_ago * QUARTER, sent, failed, 0, age)


def test_bars_are_increases_within_a_quarter_of_an_hour() -> None:
    chart = chart_of([sample(3.5, 10), sample(2.5, 12), sample(2.2, 16), sample(0.5, 17, failed=2, age=60.0)], NOW)

    assert (chart["total_sent"], chart["max_sent"], chart["total_failed"], chart["max_age"]) == (7, 6, 2, "60 s")
    assert [bar["height"] for bar in chart["sent"]] == [60.0, 10.0]
    assert chart["sent"][0]["x"] < chart["sent"][1]["x"] < chart["width"]
    assert chart["covered"] == 3


def test_database_that_was_replaced_counts_from_zero() -> None:
    assert chart_of([sample(2, 500), sample(1, 3)], NOW)["total_sent"] == 0


def test_without_samples_there_is_no_chart() -> None:
    assert not chart_of([], NOW)["has_samples"]
