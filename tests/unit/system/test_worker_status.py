"""The health of a worker as its status file shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from syftnotify.system import worker_status
from syftnotify.system.paths import Home
from syftnotify.system.worker_status import Phase, WorkerStatus, health_problems


@pytest.mark.parametrize(
    ("interval", "silence", "is_healthy"), [(1, 29, True), (1, 40, False), (60, 170, True), (60, 190, False)]
)
def test_health_problems_scan_overdue_by_three_intervals_or_30_s(
    interval: float, silence: float, is_healthy: bool
) -> None:
    """S16."""
    report = WorkerStatus(interval=interval, last_scan_s=1000.0)

    problems = health_problems(report, 1000.0 + silence)

    assert is_healthy == (not problems)
    assert is_healthy or "no scan for" in problems[0]


def test_health_problems_first_scan_without_progress_for_ten_minutes() -> None:
    """B12: a start that hangs differs from one that takes long."""
    report = WorkerStatus(phase=Phase.STARTING, reported_s=1000.0)

    assert health_problems(report, 1500.0) == []
    assert health_problems(report, 1700.0) == ["the first scan has made no progress for 700 s"]


def test_worker_status_round_trip_through_its_file(tmp_path: Path) -> None:
    """S16."""
    home = Home(tmp_path)
    report = WorkerStatus(pid=7, sent=3, failures={"scan": {"count": 2, "error": "e"}}, ended="stopped")

    worker_status.write(home, report)

    found = worker_status.read(home)
    assert (found.pid, found.sent, found.failures, found.ended) == (7, 3, report.failures, "stopped")
