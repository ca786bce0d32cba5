"""The verdict of a campaign, without processes."""

from __future__ import annotations

from collections import Counter

import pytest

from syftnotify.system import failpoints
from tests.chaos import naive
from tests.chaos.harness import Campaign, Outcome, plan_campaigns
from tests.chaos.material import Owed, recording_of, round_of
from tests.chaos.report import failures, render_page, rows_of
from tests.chaos.sinks import Committed
from tests.chaos.subjects import points_of
from tests.chaos.verdict import Verdict, judge
from tests.recorded import Oracle
from tests.support import (
    ANA,
    OWNER,
)

ONE = Owed("job_submitted", "owner", OWNER, "job/D/x/y/z")
OTHER = Owed("job_submitted", "submitter", ANA, "job/D/x/y/z")


def test_judge_all_sent_once_or_counted_is_good() -> None:
    """X01, X03."""
    arrived = [Committed("1", (ONE,)), Committed("2", (OTHER,)), Committed("1", (ONE,))]

    assert judge([ONE, OTHER], arrived, {"1": 1}) == Verdict(owed=2, delivered=2, duplicated=("1",), unknown=1)
    assert judge([ONE, OTHER], arrived, {"1": 1}).is_good


@pytest.mark.parametrize(
    ("arrived", "verdict"),
    [
        pytest.param([], Verdict(1, 0, lost=(ONE,)), id="lost"),
        pytest.param(
            [Committed("1", (ONE,))] * 2, Verdict(1, 1, duplicated=("1",), uncounted=("1",)), id="not counted"
        ),
        pytest.param(
            [Committed("1", (ONE,)), Committed("2", (OTHER,))], Verdict(1, 1, unexpected=(OTHER,)), id="unexpected"
        ),
        pytest.param(
            [Committed("1", (ONE,)), Committed("2", (ONE,))],
            Verdict(1, 1, unexpected=(ONE,)),
            id="under another id",
        ),
        pytest.param(
            [Committed("1", (ONE,)), Committed("1", (OTHER,))],
            Verdict(1, 1, unexpected=(OTHER,), duplicated=("1",), uncounted=("1",)),
            id="one id for two things",
        ),
    ],
)
def test_judge_detects_every_violation(arrived: list[Committed], verdict: Verdict) -> None:
    """X01, X03."""
    assert judge([ONE], arrived, {}) == verdict
    assert not verdict.is_good


def test_judge_unknown_attempt_excuses_one_copy_of_its_message() -> None:
    """X03."""
    thrice = [Committed("1", (ONE,))] * 3

    assert judge([ONE], thrice, {"1": 1, "2": 5}).uncounted == ("1",)
    assert judge([ONE], thrice, {"1": 2}).is_good


def test_failings_point_never_hit_or_control_passed() -> None:
    """X01."""
    good = judge([ONE], [Committed("1", (ONE,))], {})
    smtp = Outcome(Campaign("smtp", "0", (), 0), good, Counter(points_of("smtp")))
    control = Outcome(Campaign("naive", "0", (), 0), good, Counter(naive.POINTS))
    caught = Outcome(Campaign("naive", "0", (), 0), judge([ONE], [], {}), Counter(naive.POINTS))

    assert list(failures(rows_of([smtp, caught]))) == []
    assert len(list(failures(rows_of([smtp, control])))) == 1
    smtp.kills_by_point["smtp.dot"] = 0
    assert len(list(failures(rows_of([smtp, caught])))) == 1
    assert "smtp.dot" in render_page(rows_of([smtp, caught]), seed=1, kills=1, seconds=1.0, cpu=1.0)


def test_campaigns_contain_every_point_equally_often() -> None:
    """X01."""
    planned = plan_campaigns("smtp", 1, 101, 3)

    assert sum(campaign.kills for campaign in planned) == 101
    died = Counter(point for campaign in planned for point in campaign.points)
    assert died.keys() == failpoints.POINTS
    assert max(died.values()) - min(died.values()) <= 1 + len(planned)


@pytest.mark.parametrize("number", [0, 1])
def test_round_end_owes_everything_that_its_steps_owed(number: int) -> None:
    """Otherwise a worker could miss what was true only while it was down."""
    one, oracle = round_of(number), Oracle(recording_of(number))
    in_turn = Counter(sent for step in one.steps for sent in oracle.expect(step).elements())

    # The oracle expects the peer names of the recording, and so finds none here.
    assert in_turn == Counter(owed[:3] for owed in one.owed if owed.event != "peer_granted")
    assert {owed.event for owed in one.owed} == {*(sent[0] for sent in in_turn), "peer_granted"}
