"""Killed at any instant, by any fail-point, in bad weather: nothing is lost, and what comes twice is counted.

The short form of `python -m tests.chaos`, and whether that would notice if it were not so.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from syftnotify.system import failpoints
from tests.chaos import naive
from tests.chaos.harness import Campaign, Outcome, campaigns, run
from tests.chaos.material import Owed, recording_of, round_of
from tests.chaos.report import failings, page_of, rows_of
from tests.chaos.sinks import Committed
from tests.chaos.subjects import points_of
from tests.chaos.verdict import Verdict, judge
from tests.recorded import Oracle
from tests.support import ANA, OWNER

pytestmark = pytest.mark.fire

# Each fail-point once: those that mail servers alone have, and every other one of the rest, fall to SMTP.
_COMMON = points_of("gmail")
SHARES = {
    "gmail": _COMMON[::2],
    "smtp": (*_COMMON[1::2], *(point for point in points_of("smtp") if point not in _COMMON)),
}
ONE = Owed("job_submitted", "owner", OWNER, "job/D/x/y/z")
OTHER = Owed("job_submitted", "submitter", ANA, "job/D/x/y/z")


@pytest.mark.parametrize("kind", SHARES)
def test_killed_anywhere_it_loses_nothing_and_counts_what_came_twice(kind: str, tmp_path: Path) -> None:
    """X01, X03."""
    outcome = run(Campaign(kind, f"short {kind}", SHARES[kind], from_outside=5), tmp_path)

    assert outcome.verdict.is_good, outcome
    assert outcome.verdict.owed > 0
    assert outcome.deaths == Counter({**dict.fromkeys(SHARES[kind], 1), "": 5})
    assert outcome.recoveries


def test_the_short_form_dies_at_every_fail_point() -> None:
    assert sorted(point for points in SHARES.values() for point in points) == sorted(failpoints.POINTS)


def test_fail_points_of_the_program_are_those_of_the_list() -> None:
    """A name that is not in the list would never be tried; one that is nowhere reached would be waited for in vain."""
    sources = Path(failpoints.__file__).parents[1].rglob("*.py")
    reached = [name for each in sources for name in re.findall(r'\breached\("([a-z._]+)"\)', each.read_text("utf-8"))]

    assert set(reached) == failpoints.POINTS


def test_the_harness_finds_out_a_naive_notifier(tmp_path: Path) -> None:
    outcome = run(Campaign("naive", "short naive", naive.POINTS * 3, from_outside=4), tmp_path)

    assert outcome.verdict.lost or outcome.verdict.uncounted
    assert set(naive.POINTS) < outcome.deaths.keys()


# -- whether it would notice -------------------------------------------------------------------------------------


def test_all_told_once_or_counted_is_good() -> None:
    told = [Committed("1", (ONE,)), Committed("2", (OTHER,)), Committed("1", (ONE,))]

    assert judge([ONE, OTHER], told, {"1": 1}) == Verdict(owed=2, delivered=2, doubled=("1",), unknown=1)
    assert judge([ONE, OTHER], told, {"1": 1}).is_good


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        pytest.param([], Verdict(1, 0, lost=(ONE,)), id="lost"),
        pytest.param([Committed("1", (ONE,))] * 2, Verdict(1, 1, doubled=("1",), uncounted=("1",)), id="not counted"),
        pytest.param([Committed("1", (ONE,)), Committed("2", (OTHER,))], Verdict(1, 1, foreign=(OTHER,)), id="foreign"),
        pytest.param(
            [Committed("1", (ONE,)), Committed("2", (ONE,))],
            Verdict(1, 1, foreign=(ONE,)),
            id="under another id",
        ),
        pytest.param(
            [Committed("1", (ONE,)), Committed("1", (OTHER,))],
            Verdict(1, 1, foreign=(OTHER,), doubled=("1",), uncounted=("1",)),
            id="one id for two things",
        ),
    ],
)
def test_whatever_breaks_the_promise_is_seen(told: list[Committed], verdict: Verdict) -> None:
    assert judge([ONE], told, {}) == verdict
    assert not verdict.is_good


def test_one_attempt_of_unknown_outcome_excuses_one_copy_of_its_own_message() -> None:
    thrice = [Committed("1", (ONE,))] * 3

    assert judge([ONE], thrice, {"1": 1, "2": 5}).uncounted == ("1",)
    assert judge([ONE], thrice, {"1": 2}).is_good


def test_a_run_fails_when_a_point_was_never_hit_or_the_control_gets_away() -> None:
    good = judge([ONE], [Committed("1", (ONE,))], {})
    smtp = Outcome(Campaign("smtp", "0", (), 0), good, Counter(points_of("smtp")))
    control = Outcome(Campaign("naive", "0", (), 0), good, Counter(naive.POINTS))
    caught = Outcome(Campaign("naive", "0", (), 0), judge([ONE], [], {}), Counter(naive.POINTS))

    assert list(failings(rows_of([smtp, caught]))) == []
    assert len(list(failings(rows_of([smtp, control])))) == 1
    smtp.deaths["smtp.dot"] = 0
    assert len(list(failings(rows_of([smtp, caught])))) == 1
    assert "smtp.dot" in page_of(rows_of([smtp, caught]), seed=1, kills=1, seconds=1.0, cpu=1.0)


def test_every_kind_of_campaign_dies_at_each_of_its_points() -> None:
    planned = campaigns("smtp", 1, 101, 3)

    assert sum(campaign.kills for campaign in planned) == 101
    died = Counter(point for campaign in planned for point in campaign.points)
    assert died.keys() == failpoints.POINTS
    assert max(died.values()) - min(died.values()) <= 1 + len(planned)


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_true_at_the_end_of_a_round_is_all_that_its_steps_owed(number: int) -> None:
    """Else a worker that was dead while something was true could rightly miss it."""
    one, oracle = round_of(number), Oracle(recording_of(number))
    in_turn = Counter(told for step in one.steps for told in oracle.expect(step).elements())

    # The oracle knows the peers by the names that they have in the recording, and so finds none here.
    assert in_turn == Counter(owed[:3] for owed in one.owed if owed.event != "peer_granted")
    assert {owed.event for owed in one.owed} == {*(told[0] for told in in_turn), "peer_granted"}
