"""The short form of `python -m tests.chaos`: workers are killed at every fail-point while servers fail."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from syftnotify.system import failpoints
from tests import postgres
from tests.chaos import naive
from tests.chaos.cluster import ClusterCampaign, run_cluster_campaign
from tests.chaos.harness import Campaign, run_campaign
from tests.chaos.subjects import points_of

# Each fail-point once: half of the common ones with each server, those of mail servers with SMTP.
_COMMON = points_of("gmail")
SHARES = {
    "gmail": _COMMON[::2],
    "smtp": (*_COMMON[1::2], *(point for point in points_of("smtp") if point not in _COMMON)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SHARES)
def test_worker_killed_anywhere_loses_nothing_and_counts_duplicates(kind: str, tmp_path: Path) -> None:
    """X01, X03."""
    outcome = run_campaign(Campaign(kind, f"short {kind}", SHARES[kind], external=5), tmp_path)

    assert outcome.verdict.is_good, outcome
    assert outcome.verdict.owed > 0
    assert outcome.kills_by_point == Counter({**dict.fromkeys(SHARES[kind], 1), "": 5})
    assert outcome.recoveries


def test_shares_contain_every_fail_point_once() -> None:
    """X01."""
    assert sorted(point for points in SHARES.values() for point in points) == sorted(failpoints.POINTS)


@pytest.mark.thorough
def test_workers_of_a_shared_database_lose_nothing_and_count_duplicates() -> None:
    """X12."""
    postgres.require(min(postgres.installations(), key=int, default="15"))
    outcome = run_cluster_campaign(ClusterCampaign("short shared", 15))

    assert outcome.verdict.is_good, outcome
    assert outcome.verdict.owed > 0
    assert outcome.faults.total() == 15


@pytest.mark.thorough
def test_harness_detects_the_faults_of_a_naive_notifier(tmp_path: Path) -> None:
    """X01: the control of the test above."""
    outcome = run_campaign(Campaign("naive", "short naive", naive.POINTS * 3, external=4), tmp_path)

    assert outcome.verdict.lost or outcome.verdict.uncounted
    assert set(naive.POINTS) < outcome.kills_by_point.keys()
