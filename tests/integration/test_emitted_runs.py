"""Emitted runs that take long: reported once for each threshold."""

from __future__ import annotations

import pytest

from syftnotify.core.kinds import FINAL_KINDS, EventKind
from tests.emitting import emit, scanned, scanned_after
from tests.queries import add_alert_rule
from tests.support import BO, OWNER, Box, delete_outbox

CY = "cy@lab.example"
NO_ROUTE = [{"events": ["job_held"]}]  # matches no event here
MINUTE = 60.0
ENDS = [
    pytest.param(kind, marks=[] if kind is EventKind.JOB_FAILED else pytest.mark.thorough)
    for kind in sorted(FINAL_KINDS)
]


def test_emitted_run_is_reported_once_by_an_alert_rule(box: Box) -> None:
    """A15: with the data of the job, through restarts, and without a tree."""
    box.configure({"routes": NO_ROUTE})
    box.root.rmdir()
    add_alert_rule(box, "--job", "nightly", "--email", BO, "--on-long-run-minutes", "90")
    emit(box, "job_started", user="ana", payload={"name": "nightly", "step": "copy"})
    assert scanned(box) == []
    assert scanned_after(box, 89) == []
    assert scanned_after(box, 1) == [("job_long_running", BO)]
    assert [scanned_after(box, 60) for _ in range(3)] == [[], [], []]
    (mail,) = box.mails()
    assert mail.text.startswith('● Still running at step "copy"\r\n\r\n"nightly"\r\nfrom "ana"\r\n')
    assert '\r\nJob "nightly" from "ana" has been running for 1 hour 30 minutes.\r\n' in mail.text


def test_emitted_run_is_reported_once_for_each_threshold(box: Box) -> None:
    """A15: the configuration, the job's own alerts and a rule by tag."""
    box.configure({"reminders": {"job_long_running": ["1h", "3h"]}})
    add_alert_rule(box, "--tag", "team-*", "--email", CY, "--on-long-run-minutes", "120")
    emit(box, "job_submitted", tags=["team-data"], alerts={"on_long_run_minutes": 120, "recipients": [BO]})
    emit(box, "job_started")
    scanned(box)
    reported = [scanned_after(box, 30) for _ in range(8)]

    assert [(number, each) for number, each in enumerate(reported, 1) if each] == [
        (2, [("job_long_running", OWNER)]),
        (4, [("job_long_running", BO), ("job_long_running", CY)]),
        (6, [("job_long_running", OWNER)]),
    ]


@pytest.mark.parametrize("end", ENDS)
def test_emitted_run_that_ended_is_never_reported(box: Box, end: EventKind) -> None:
    """A15: also when the end and the limit come at once."""
    box.configure({"routes": NO_ROUTE})
    add_alert_rule(box, "--job", "*", "--email", BO, "--on-long-run-minutes", "1", "--no-on-failure", "--no-on-timeout")
    emit(box, "job_started")
    scanned(box)
    emit(box, end)

    assert [scanned_after(box, 10) for _ in range(3)] == [[], [], []]


def test_emitted_run_that_starts_again_is_another_run(box: Box) -> None:
    """A15: a job that was put back into the queue."""
    box.configure({"reminders": {"job_long_running": "1h"}})
    emit(box, "job_started")
    scanned(box)
    assert scanned_after(box, 60) == [("job_long_running", OWNER)]
    emit(box, "job_started")
    scanned(box)

    assert scanned_after(box, 59) == []
    assert scanned_after(box, 1) == [("job_long_running", OWNER)]


def test_emitted_run_is_reported_by_a_worker_that_lives_on(box: Box) -> None:
    """A15: a worker keeps the started jobs in memory; ends, and a lost outbox, change them."""
    box.configure({"reminders": {"job_long_running": "1h"}})
    app = box.open_app()

    def scan(minutes: float) -> list[str]:
        box.clock.advance(minutes * MINUTE)
        app.run_once(box.clock.now)
        return sorted(mail.entities[0] for mail in box.new_mails() if mail.event == "job_long_running")

    try:
        for entity in ("a", "b", "c"):
            emit(box, "job_started", entity)
        assert scan(0) == []
        emit(box, "job_completed", "b")
        assert scan(30) == []
        assert scan(30) == ["a", "c"]
        assert scan(30) == []
        emit(box, "job_started", "a")
        assert scan(0) == scan(59) == []
        delete_outbox(box)
        assert scan(10) == []
        emit(box, "job_started", "d")
        assert scan(0) == []
        assert scan(60) == ["d"]
    finally:
        app.close()


def test_emitted_run_is_reported_once_though_history_is_pruned(box: Box) -> None:
    """A15: thresholds that were reported are not read from the history."""
    box.configure({"reminders": {"job_long_running": "1h"}, "retention": "1d"})
    emit(box, "job_started")
    scanned(box)
    assert scanned_after(box, 60) == [("job_long_running", OWNER)]

    assert [scanned_after(box, 60 * 36) for _ in range(3)] == [[], [], []]
