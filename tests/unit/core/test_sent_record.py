"""Which events another notifier has sent, by a record that knows jobs by name."""

from __future__ import annotations

import pytest

from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Event, Job
from syftnotify.core.sent_record import SentJobs, SentRecord
from syftnotify.core.text import iso
from tests.support import ANA, BO, OWNER

WRITTEN_AT = 1_800_000_000.0
BEFORE, AFTER = iso(WRITTEN_AT - 60), iso(WRITTEN_AT + 60)
SUBMITTED, APPROVED, REJECTED = EventKind.JOB_SUBMITTED, EventKind.JOB_APPROVED, EventKind.JOB_REJECTED
COMPLETED, FAILED = EventKind.JOB_COMPLETED, EventKind.JOB_FAILED


class Times:
    """Times of the files of all jobs."""

    def __init__(self, arrived_at: float | None = WRITTEN_AT - 60, changed_at: float | None = WRITTEN_AT - 60) -> None:
        self._arrived_at, self._changed_at = arrived_at, changed_at

    def arrived_at(self, job: Job) -> float | None:
        return self._arrived_at

    def changed_at(self, job: Job) -> float | None:
        return self._changed_at


def job(
    name: str, submitter: str = ANA, *, submitted_at: str = BEFORE, layout: str = "D", status: Status = Status.DONE
) -> Job:
    entity = f"job/{layout}/{OWNER}/{submitter}/{name}"
    has_times = layout == "D"
    return Job(entity, layout, OWNER, submitter, "", name, status, (), submitted_at, has_end_times=has_times)


def is_settled(
    kind: EventKind, at: str, *, sent: tuple[EventKind, ...], about: Job | None = None, times: Times | None = None
) -> bool:
    """Whether the event is settled if the record has the events `sent` about the job."""
    about = about or job("survey")
    record = SentRecord(
        {"survey": frozenset(sent), "other": frozenset({SUBMITTED})}, {"survey": "t1"}, written_at=WRITTEN_AT
    )
    jobs = [about, job("other", layout="D")]
    return SentJobs(jobs, record, times or Times()).is_settled(Event(kind, about.entity, at, at), about)


@pytest.mark.parametrize(
    ("kind", "at", "sent", "expected"),
    [
        (SUBMITTED, BEFORE, (SUBMITTED,), True),
        (COMPLETED, BEFORE, (SUBMITTED, COMPLETED), True),
        (COMPLETED, AFTER, (SUBMITTED, COMPLETED), False),  # a rerun
        (COMPLETED, BEFORE, (SUBMITTED,), False),  # it would still send it
        (FAILED, BEFORE, (SUBMITTED, COMPLETED), False),  # a rerun that failed
        (APPROVED, AFTER, (SUBMITTED,), False),
        (REJECTED, BEFORE, (SUBMITTED,), True),  # it never sends one
        (REJECTED, AFTER, (SUBMITTED,), False),
        (REJECTED, "", (SUBMITTED,), True),  # without a time, that of the files counts
    ],
)
def test_event_of_a_recorded_job(kind: EventKind, at: str, sent: tuple[EventKind, ...], *, expected: bool) -> None:
    """B05."""
    assert is_settled(kind, at, sent=sent) is expected


@pytest.mark.parametrize(
    ("kind", "at", "status", "expected"),
    [
        (SUBMITTED, BEFORE, Status.WAITING, False),
        (SUBMITTED, BEFORE, Status.DONE, True),
        (COMPLETED, BEFORE, Status.DONE, True),
        (COMPLETED, AFTER, Status.DONE, False),
    ],
)
def test_event_in_a_layout_that_the_notifier_does_not_read(
    kind: EventKind, at: str, status: Status, *, expected: bool
) -> None:
    """B05: older events would be a flood."""
    assert is_settled(kind, at, sent=(), about=job("genomes", layout="C", status=status)) is expected


def test_event_without_a_time_is_dated_by_the_files_of_its_job() -> None:
    """B05: layouts with marker files."""
    about = job("genomes", layout="B4")

    assert is_settled(COMPLETED, "", sent=(), about=about)
    assert not is_settled(COMPLETED, "", sent=(), about=about, times=Times(changed_at=WRITTEN_AT + 60))
    assert not is_settled(COMPLETED, "", sent=(), about=about, times=Times(changed_at=None))


def test_end_without_a_time_is_any_recorded_end() -> None:
    """B05: old releases record a failure as executed."""
    about = job("survey", layout="B3")

    assert is_settled(FAILED, "", sent=(SUBMITTED, COMPLETED), about=about, times=Times(changed_at=WRITTEN_AT + 60))
    assert not is_settled(APPROVED, "", sent=(SUBMITTED,), about=about)


@pytest.mark.parametrize(("arrived_at", "expected"), [(WRITTEN_AT - 60, True), (WRITTEN_AT + 60, False)])
def test_submission_time_of_a_wrong_clock_does_not_repeat_a_submission(arrived_at: float, *, expected: bool) -> None:
    """B05: only one that also arrived later is another submission of that name."""
    about = job("survey", submitted_at=AFTER)

    assert is_settled(SUBMITTED, AFTER, sent=(SUBMITTED,), about=about, times=Times(arrived_at)) is expected


def test_name_with_a_conversation_is_that_of_the_first_job() -> None:
    """B05: syft-bg mails about one of several jobs with a name."""
    first, second = job("survey", BO, submitted_at=iso(WRITTEN_AT - 90)), job("survey", ANA)
    record = SentRecord({"survey": frozenset({SUBMITTED})}, {"survey": "t1"}, written_at=WRITTEN_AT)
    sent = SentJobs([second, first], record, Times())

    assert (sent.thread(first), sent.thread(second)) == ("t1", "")
    assert [set(sent.kinds(each)) for each in (first, second)] == [{SUBMITTED}, set()]


def test_name_without_a_conversation_is_that_of_all_jobs_at_the_first_start() -> None:
    """B05: syft-bg records the jobs that exist then, and mails nothing."""
    jobs = [job("survey", ANA), job("survey", BO), job("survey", BO, submitted_at=AFTER, layout="C")]
    record = SentRecord({"survey": frozenset({SUBMITTED})}, written_at=WRITTEN_AT)
    sent = SentJobs(jobs, record, Times())

    assert [bool(sent.kinds(each)) for each in jobs] == [True, True, False]
