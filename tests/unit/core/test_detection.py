"""Detection: the facts of a scan minus what the ledger recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.detection import detect_jobs, detect_peers
from syftnotify.core.kinds import END_KINDS, EventKind, Status, current_status
from syftnotify.core.models import EndMark, Fact, Job, Peer


@dataclass
class FakeLedger:
    """The part of the ledger that detection reads, in memory."""

    recorded: set[tuple[str, EventKind, str]] = field(default_factory=set)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    end_marks: dict[str, EndMark] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    back: dict[str, float] = field(default_factory=dict)

    def is_recorded(self, entity: str, kind: EventKind, occurrence: str) -> bool:
        return (entity, kind, occurrence) in self.recorded

    def rerun_count(self, entity: str, submission: str) -> int:
        return self.counts.get((entity, submission), 0)

    def end_count(self, entity: str) -> int:
        return sum(1 for recorded, kind, _ in self.recorded if recorded == entity and kind in END_KINDS)

    def end_mark(self, entity: str) -> EndMark | None:
        return self.end_marks.get(entity)

    def is_unreadable(self, entity: str) -> bool:
        return entity in self.unreadable

    def reappeared_at(self, entity: str) -> float | None:
        return self.back.get(entity)


NOW = 1000.0
SUBMITTED = Fact(EventKind.JOB_SUBMITTED, "T0")
APPROVED = Fact(EventKind.JOB_APPROVED, "T1")
COMPLETED = Fact(EventKind.JOB_COMPLETED, "T2")


def job(*facts: Fact, status: Status = Status.WAITING, layout: str = "D", **more: Any) -> Job:
    defaults = {"submission_id": "T0", "ended": status in {Status.DONE, Status.FAILED}, "has_end_times": layout == "D"}
    return Job("job/x", layout, "o@x.org", "a@y.net", "", "x", status, facts, **{**defaults, **more})


def kinds(job: Job, ledger: FakeLedger, *, baseline: bool = False) -> list[EventKind]:
    return [event.kind for event in detect_jobs([job], ledger, baseline=baseline, now=NOW).events]


def test_detect_jobs_returns_unrecorded_facts_in_order() -> None:
    assert kinds(job(COMPLETED, APPROVED, SUBMITTED, status=Status.DONE), FakeLedger()) == [
        EventKind.JOB_SUBMITTED,
        EventKind.JOB_APPROVED,
        EventKind.JOB_COMPLETED,
    ]


def test_detect_jobs_skips_recorded_facts() -> None:
    ledger = FakeLedger({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_APPROVED, "T1")})

    assert kinds(job(SUBMITTED, APPROVED, COMPLETED, status=Status.DONE), ledger) == [EventKind.JOB_COMPLETED]


def test_detect_jobs_later_occurrence_is_a_new_event() -> None:
    ledger = FakeLedger({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_COMPLETED, "T2")})

    assert kinds(job(SUBMITTED, Fact(EventKind.JOB_COMPLETED, "T9"), status=Status.DONE), ledger) == [
        EventKind.JOB_COMPLETED
    ]
    assert kinds(job(Fact(EventKind.JOB_SUBMITTED, "T8"), COMPLETED, status=Status.DONE), ledger) == [
        EventKind.JOB_SUBMITTED
    ]


@pytest.mark.parametrize(
    ("status", "facts", "catch_up", "marked"),
    [
        (Status.WAITING, (SUBMITTED,), [EventKind.JOB_SUBMITTED], []),
        (Status.APPROVED, (SUBMITTED, APPROVED), [], [EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED]),
        (
            Status.DONE,
            (SUBMITTED, APPROVED, COMPLETED),
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
def test_detect_jobs_baseline_marks_the_past_and_catches_up_requests(
    status: Status, facts: tuple[Fact, ...], catch_up: list[EventKind], marked: list[EventKind]
) -> None:
    """B05"""
    changes = detect_jobs([job(*facts, status=status)], FakeLedger(), baseline=True, now=NOW)

    assert changes.events == []
    assert [event.kind for event in changes.catch_up] == catch_up
    assert [mark.kind for mark in changes.marks] == marked


def test_detect_jobs_unreadable_at_baseline_is_marked_when_readable() -> None:
    unreadable = detect_jobs([job(is_readable=False)], FakeLedger(), baseline=True, now=NOW)
    assert unreadable.unreadable == {"job/x"}
    later = detect_jobs([job(SUBMITTED, COMPLETED, status=Status.DONE)], FakeLedger(unreadable={"job/x"}), now=NOW)

    assert later.events == []
    assert [mark.kind for mark in later.marks] == [EventKind.JOB_SUBMITTED, EventKind.JOB_COMPLETED]
    assert later.readable == {"job/x"}


END = Fact(EventKind.JOB_COMPLETED, "T0", counted=True)


def test_detect_jobs_rerun_without_times_is_counted_once_per_reopening() -> None:
    """X10"""
    ledger = FakeLedger({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_COMPLETED, "T0")})
    reopened = detect_jobs([job(SUBMITTED, layout="B2")], ledger, now=NOW)
    assert reopened.reruns == {("job/x", "T0"): 1}
    ledger.counts = reopened.reruns
    assert detect_jobs([job(SUBMITTED, layout="B2")], ledger, now=NOW).reruns == {}
    (again,) = detect_jobs([job(SUBMITTED, END, status=Status.DONE, layout="B2")], ledger, now=NOW).events

    assert (again.kind, again.occurrence) == (EventKind.JOB_COMPLETED, "T0#1")


def ended_before(**more: Any) -> FakeLedger:
    return FakeLedger({("job/x", EventKind.JOB_SUBMITTED, "T0"), ("job/x", EventKind.JOB_COMPLETED, "T0")}, **more)


def test_detect_jobs_unreadable_job_is_no_rerun() -> None:
    assert detect_jobs([job(SUBMITTED, layout="B2", is_readable=False)], ended_before(), now=NOW).reruns == {}


def test_detect_jobs_reappeared_job_is_no_rerun() -> None:
    reappeared = detect_jobs([job(SUBMITTED, layout="B2")], ended_before(back={"job/x": 0}), now=NOW)
    assert (reappeared.reruns, reappeared.reappeared) == ({}, {"job/x"})
    stable = detect_jobs(
        [job(SUBMITTED, END, status=Status.DONE, layout="B2")], ended_before(back={"job/x": NOW}), now=NOW
    )

    assert (stable.events, stable.stable) == ([], {"job/x"})


def test_detect_jobs_reappeared_job_that_stays_open_is_a_rerun() -> None:
    later = detect_jobs([job(SUBMITTED, layout="B2")], ended_before(back={"job/x": NOW}), now=NOW + 61)

    assert (later.reruns, later.stable) == ({("job/x", "T0"): 1}, {"job/x"})


def test_detect_jobs_job_in_two_stages_counts_as_ended() -> None:
    """A scan may find a job before and after its rename."""
    ledger = FakeLedger({("job/x", EventKind.JOB_COMPLETED, "T0")})
    jobs = [job(SUBMITTED, layout="A"), job(SUBMITTED, END, status=Status.DONE, layout="A")]

    assert detect_jobs(jobs, ledger, now=NOW).reruns == {}


facts = st.lists(
    st.builds(
        Fact,
        st.sampled_from([EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_REJECTED, *sorted(END_KINDS)]),
        st.text(max_size=3),
    ),
    max_size=6,
)


@given(facts, st.sampled_from(list(Status)), st.booleans())
def test_detect_jobs_after_recording_the_changes_finds_none(facts: list[Fact], status: Status, baseline: bool) -> None:
    ledger = FakeLedger()
    changes = detect_jobs([job(*facts, status=status)], ledger, baseline=baseline, now=NOW)
    for event in (*changes.events, *changes.catch_up):
        ledger.recorded.add((event.entity, event.kind, event.occurrence))
    for mark in changes.marks:
        ledger.recorded.add((mark.entity, mark.kind, mark.occurrence))
    again = detect_jobs([job(*facts, status=status)], ledger, now=NOW)

    assert (again.events, again.catch_up, again.marks) == ([], [], [])


def peer(kind: EventKind) -> Peer:
    return Peer("peer/o/a", "o@x.org", "a@y.net", (Fact(kind),))


def test_detect_peers_reports_each_once_and_no_grant_of_the_baseline() -> None:
    granted = detect_peers([peer(EventKind.PEER_GRANTED)], FakeLedger(), baseline=True)
    requested = detect_peers([peer(EventKind.PEER_REQUESTED)], FakeLedger(), baseline=True)
    later = detect_peers([peer(EventKind.PEER_GRANTED)], FakeLedger({("peer/o/a", EventKind.PEER_REQUESTED, "")}))

    assert (granted.events, len(granted.marks)) == ([], 1)
    assert [event.kind for event in requested.catch_up] == [EventKind.PEER_REQUESTED]
    assert [event.kind for event in later.events] == [EventKind.PEER_GRANTED]


def test_current_status_follows_the_latest_event() -> None:
    assert current_status([]) is Status.WAITING
    assert current_status([EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_FAILED]) is Status.FAILED
    assert current_status([EventKind.JOB_COMPLETED, EventKind.JOB_SUBMITTED]) is Status.WAITING


@pytest.mark.parametrize(
    ("mark", "count", "is_kept"),
    [
        (EndMark(7, 20, 20), 1, False),
        (EndMark(7, 5, 5), 1, False),  # the clock was set back
        (EndMark(7, 20, 10), 0, True),  # marked again, or the return code of the new run is not written yet
        (EndMark(7, 10, 20), 0, True),
        (EndMark(8, 20, 20), 0, False),  # a restored copy
    ],
)
def test_detect_jobs_counts_a_rerun_between_two_scans(mark: EndMark, count: int, *, is_kept: bool) -> None:
    """In layouts that give an end no time, from the files of the end."""
    ledger = FakeLedger({("job/x", EventKind.JOB_COMPLETED, "T0")}, end_marks={"job/x": EndMark(7, 10, 10)})
    end = Fact(EventKind.JOB_COMPLETED, "T0", counted=True)
    changes = detect_jobs([job(end, status=Status.DONE, layout="B4", end_mark=mark)], ledger, now=NOW)

    assert changes.reruns == ({("job/x", "T0"): 1} if count else {})
    assert [event.occurrence for event in changes.events] == (["T0#1"] if count else [])
    assert changes.end_marks == ({} if is_kept else {"job/x": mark})
