"""When an alert rule would have fired."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import AlertRule, Event
from syftnotify.core.text import iso
from syftnotify.services.alert_preview import RulePreview, preview_rule
from syftnotify.store.outbox.store import SqliteOutbox

DAY = 86400.0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


def ended(outbox: SqliteOutbox, kind: str, name: str = "nightly-1", *, days: float = 1.0, minutes: float = 1.0) -> None:
    """The end of a run of the tree that took `minutes`."""
    now = time.time() - days * DAY
    times = {"approved": iso(now - minutes * 60), "ended": iso(now)}
    payload = {"name": name, "layout": "D", "times": times}
    outbox.enqueue([Event(EventKind(kind), f"job/D/o/a/{name}", str(now), iso(now), payload)], [], now)


def preview(outbox: SqliteOutbox, **options: object) -> RulePreview:
    off = {"on_failure": False, "on_timeout": False}
    return preview_rule(outbox, AlertRule("1", "o@x.org", **{"job": "nightly-*", **off, **options}))  # type: ignore[arg-type] # any option


def test_conditions_and_jobs_of_the_rule_count(outbox: SqliteOutbox) -> None:
    for kind, count in (("job_failed", 3), ("job_timeout", 2), ("job_completed", 1)):
        for number in range(count):
            ended(outbox, kind, f"nightly-{number}", days=1.0 + number)
    ended(outbox, "job_failed", "other")

    found = {name: preview(outbox, **{name: True}).count for name in ("on_failure", "on_timeout", "on_success")}
    assert found == {"on_failure": 3, "on_timeout": 2, "on_success": 1}
    assert preview(outbox, job="*", on_failure=True).count == 4
    assert preview(outbox, job="none", on_failure=True).count == 0


def test_the_newest_is_listed_first_and_old_ones_are_not(outbox: SqliteOutbox) -> None:
    for days in (31.0, 2.0, 29.0):
        ended(outbox, "job_failed", f"nightly-{days:g}", days=days)

    found = preview(outbox, on_failure=True)
    assert [firing.event.payload["name"] for firing in found.firings] == ["nightly-2", "nightly-29"]
    assert (found.count, found.days, found.is_complete) == (2, 30, True)


def test_run_that_took_too_long_counts_with_any_end(outbox: SqliteOutbox) -> None:
    ended(outbox, "job_completed", minutes=61)
    ended(outbox, "job_failed", minutes=90)
    ended(outbox, "job_completed", minutes=59)

    found = preview(outbox, on_long_run_minutes=60.0)
    assert [firing.kind for firing in found.firings] == [EventKind.JOB_LONG_RUNNING] * 2
    assert preview(outbox, on_long_run_minutes=60.0, on_failure=True).count == 3, "the failed one fires twice"


def test_run_of_a_scheduler_took_the_time_between_its_events(outbox: SqliteOutbox) -> None:
    """Each of several runs of one entity."""
    now = time.time()
    for run in reversed(range(3)):
        for kind, ago in ((EventKind.JOB_STARTED, 7200.0), (EventKind.JOB_COMPLETED, 60.0)):
            at = now - run * DAY - ago
            payload, routing = {"name": "nightly-1"}, {"tags": ["gpu"]}
            outbox.enqueue([Event(kind, "run/1", str(at), payload=payload, routing=routing, emitted=True)], [], at)

    assert preview(outbox, job="", tag="gpu", on_long_run_minutes=60.0).count == 3
    assert preview(outbox, job="", tag="gpu", on_long_run_minutes=180.0).count == 0
