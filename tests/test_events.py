"""What is true minus what was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.detection import detect_jobs, detect_peers
from syftnotify.core.kinds import END_KINDS, EventKind, Status, current_status
from syftnotify.core.models import Fact, Job, Peer


@dataclass
class Known:
    """A ledger of the test's own."""

    told: set[tuple[str, EventKind, str]] = field(default_factory=set)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    back: dict[str, float] = field(default_factory=dict)

    def is_recorded(self, entity: str, kind: EventKind, occurrence: str) -> bool:
        return (entity, kind, occurrence) in self.told

    def rerun_count(self, entity: str, submission: str) -> int:
        return self.counts.get((entity, submission), 0)

    def end_count(self, entity: str) -> int:
        return sum(1 for told, kind, _ in self.told if told == entity and kind in END_KINDS)

    def is_unreadable(self, entity: str) -> bool:
        return entity in self.unreadable

    def reappeared_at(self, entity: str) -> float | None:
        return self.back.get(entity)


NOW = 1000.0


SUBMITTED = Fact(EventKind.JOB_SUBMITTED, "T0")
APPROVED = Fact(EventKind.JOB_APPROVED, "T1")
DONE = Fact(EventKind.JOB_COMPLETED, "T2")


def job(*facts: Fact, status: Status = Status.WAITING, layout: str = "D", **more: Any) -> Job:
    defaults = {"submission_id": "T0", "ended": status in {Status.DONE, Status.FAILED}, "has_end_times": layout == "D"}
    return Job("job/x", layout, "o@x.org", "a@y.net", "", "x", status, facts, **{**defaults, **more})


def kinds(job: Job, known: Known, *, baseline: bool = False) -> list[EventKind]:
    return [event.kind for event in detect_jobs([job], known, baseline=baseline, now=NOW).events]


def test_all_that_is_true_and_untold_is_news_in_order() -> None:
    assert kinds(job(DONE, APPROVED, SUBMITTED, status=Status.DONE), Known()) == [
        EventKind.JOB_SUBMITTED,
        EventKind.JOB_APPROVED,
        EventKind.JOB_COMPLETED,
    ]


def test_what_was_told_is_no_news() -> None:
    known = Known({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_APPROVED, "T1")})

    assert kinds(job(SUBMITTED, APPROVED, DONE, status=Status.DONE), known) == [EventKind.JOB_COMPLETED]


def test_a_later_occurrence_is_news_again() -> None:
    known = Known({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_COMPLETED, "T2")})

    assert kinds(job(SUBMITTED, Fact(EventKind.JOB_COMPLETED, "T9"), status=Status.DONE), known) == [
        EventKind.JOB_COMPLETED
    ]
    assert kinds(job(Fact(EventKind.JOB_SUBMITTED, "T8"), DONE, status=Status.DONE), known) == [EventKind.JOB_SUBMITTED]


@pytest.mark.parametrize(
    ("status", "facts", "caught_up", "marked"),
    [
        (Status.WAITING, (SUBMITTED,), [EventKind.JOB_SUBMITTED], []),
        (Status.APPROVED, (SUBMITTED, APPROVED), [], [EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED]),
        (
            Status.DONE,
            (SUBMITTED, APPROVED, DONE),
            [],
            [EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_COMPLETED],
        ),
        (
            Status.REJECTED,
            (SUBMITTED, Fact(EventKind.JOB_REJECTED, "R")),
            [],
            [EventKind.JOB_SUBMITTED, EventKind.JOB_REJECTED],
        ),
    ],
)
def test_the_first_look_neither_floods_nor_swallows(
    status: Status, facts: tuple[Fact, ...], caught_up: list[EventKind], marked: list[EventKind]
) -> None:
    """B05"""
    news = detect_jobs([job(*facts, status=status)], Known(), baseline=True, now=NOW)

    assert news.events == []
    assert [event.kind for event in news.catch_up] == caught_up
    assert [mark.kind for mark in news.marks] == marked


def test_a_job_that_the_first_look_could_not_read_is_judged_by_its_rules_later() -> None:
    torn = detect_jobs([job(is_readable=False)], Known(), baseline=True, now=NOW)
    assert torn.unreadable == {"job/x"}
    later = detect_jobs([job(SUBMITTED, DONE, status=Status.DONE)], Known(unreadable={"job/x"}), now=NOW)

    assert later.events == []
    assert [mark.kind for mark in later.marks] == [EventKind.JOB_SUBMITTED, EventKind.JOB_COMPLETED]
    assert later.readable == {"job/x"}


END = Fact(EventKind.JOB_COMPLETED, "T0", counted=True)


def test_a_rerun_without_times_is_counted_by_un_endings_after_a_told_end() -> None:
    """X10"""
    known = Known({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_COMPLETED, "T0")})
    un_ended = detect_jobs([job(SUBMITTED, layout="B2")], known, now=NOW)
    assert un_ended.reruns == {("job/x", "T0"): 1}
    known.counts = un_ended.reruns
    assert detect_jobs([job(SUBMITTED, layout="B2")], known, now=NOW).reruns == {}
    (again,) = detect_jobs([job(SUBMITTED, END, status=Status.DONE, layout="B2")], known, now=NOW).events

    assert (again.kind, again.occurrence) == (EventKind.JOB_COMPLETED, "T0#1")


def ended_before(**more: Any) -> Known:
    return Known({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_COMPLETED, "T0")}, **more)


def test_a_job_that_cannot_be_read_is_no_rerun() -> None:
    assert detect_jobs([job(SUBMITTED, layout="B2", is_readable=False)], ended_before(), now=NOW).reruns == {}


def test_a_job_that_only_comes_back_is_no_rerun() -> None:
    just_back = detect_jobs([job(SUBMITTED, layout="B2")], ended_before(back={"job/x": 0}), now=NOW)
    assert (just_back.reruns, just_back.reappeared) == ({}, {"job/x"})
    whole = detect_jobs(
        [job(SUBMITTED, END, status=Status.DONE, layout="B2")], ended_before(back={"job/x": NOW}), now=NOW
    )

    assert (whole.events, whole.stable) == ([], {"job/x"})


def test_a_job_that_stays_un_ended_after_it_came_back_is_a_rerun() -> None:
    later = detect_jobs([job(SUBMITTED, layout="B2")], ended_before(back={"job/x": NOW}), now=NOW + 61)

    assert (later.reruns, later.stable) == ({("job/x", "T0"): 1}, {"job/x"})


def test_one_job_seen_in_two_stages_is_ended() -> None:
    """A scanner may see a job before and after its rename."""
    known = Known({("job/x", EventKind.JOB_COMPLETED, "T0")})
    seen = [job(SUBMITTED, layout="A"), job(SUBMITTED, END, status=Status.DONE, layout="A")]

    assert detect_jobs(seen, known, now=NOW).reruns == {}


facts = st.lists(
    st.builds(
        Fact,
        st.sampled_from([EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_REJECTED, *sorted(END_KINDS)]),
        st.text(max_size=3),
    ),
    max_size=6,
)


@given(facts, st.sampled_from(list(Status)), st.booleans())
def test_after_noting_the_news_there_is_none(facts: list[Fact], status: Status, baseline: bool) -> None:
    known = Known()
    news = detect_jobs([job(*facts, status=status)], known, baseline=baseline, now=NOW)
    for event in (*news.events, *news.catch_up):
        known.told.add((event.entity, event.kind, event.occurrence))
    for mark in news.marks:
        known.told.add((mark.entity, mark.kind, mark.occurrence))
    again = detect_jobs([job(*facts, status=status)], known, now=NOW)

    assert (again.events, again.catch_up, again.marks) == ([], [], [])


def peer(kind: EventKind) -> Peer:
    return Peer("peer/o/a", "o@x.org", "a@y.net", (Fact(kind),))


def test_peers_are_told_once_and_existing_grants_never() -> None:
    first = detect_peers([peer(EventKind.PEER_GRANTED)], Known(), baseline=True)
    waiting = detect_peers([peer(EventKind.PEER_REQUESTED)], Known(), baseline=True)
    later = detect_peers([peer(EventKind.PEER_GRANTED)], Known({("peer/o/a", EventKind.PEER_REQUESTED, "")}))

    assert (first.events, len(first.marks)) == ([], 1)
    assert [event.kind for event in waiting.catch_up] == [EventKind.PEER_REQUESTED]
    assert [event.kind for event in later.events] == [EventKind.PEER_GRANTED]


def test_the_latest_event_says_where_a_job_stands() -> None:
    assert current_status([]) is Status.WAITING
    assert current_status([EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_FAILED]) is Status.FAILED
    assert current_status([EventKind.JOB_COMPLETED, EventKind.JOB_SUBMITTED]) is Status.WAITING
