"""Reminders about jobs that wait for review or run for a long time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from syftnotify.core.detection import NotifiedIndex, job_payload, job_routing
from syftnotify.core.emitted_jobs import EmittedJob
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import BY_JOB, CONFIGURED, Event, Job


@dataclass(frozen=True, slots=True)
class ReminderThresholds:
    """After how many seconds somebody is reminded: of a job that waits for its owner, and of one that runs on."""

    waiting: tuple[float, ...] = ()
    running: tuple[float, ...] = ()


def reminders(
    jobs: Iterable[tuple[Job, float]],
    told: NotifiedIndex,
    limits: ReminderThresholds,
    *,
    now: float,
    asking: Callable[[Event], Iterable[tuple[str, float]]] | None = None,
) -> list[Event]:
    """What has been so for too long. `jobs` have not ended, each with when it was first seen as it is now.

    Once for each limit that is passed; of several of one's own, the longest alone is told. Who set the limit stands
    in `asked_by`. `asking` says who else wants to know that a job runs on, and after how long. Times are in seconds.
    """
    due = []
    for job, seen in jobs:
        is_waiting = job.status is Status.WAITING
        if not (limits.waiting if is_waiting else limits.running or asking is not None or "alerts" in job.details):
            continue
        kind = EventKind.JOB_WAITING if is_waiting else EventKind.JOB_LONG_RUNNING
        about = Event(kind, job.entity, payload=job_payload(job), routing=job_routing(job))
        steps = [(CONFIGURED, step) for step in limits.waiting] if is_waiting else _run_limits(about, limits, asking)
        since = _since(job, EventKind.JOB_SUBMITTED if is_waiting else EventKind.JOB_APPROVED, seen, now)
        for step, asked_by in _passed(steps, now - since):
            occurrence = f"{job.submission_id}+{step:g}"
            if not told.is_recorded(job.entity, kind, occurrence):
                due.append(_reminder(about, occurrence, step, asked_by))
    return due


def reminders_of_emitted(
    jobs: Iterable[EmittedJob],
    limits: ReminderThresholds,
    *,
    now: float,
    asking: Callable[[Event], Iterable[tuple[str, float]]] | None = None,
) -> tuple[list[Event], dict[str, EmittedJob]]:
    """Warnings about long runs of emitted jobs, once for each limit, and these jobs with what has been reported.

    `jobs` have started and not ended; limits and `asking` are those of `reminders`.
    """
    due: list[Event] = []
    changed: dict[str, EmittedJob] = {}
    for job in jobs:
        about = Event(EventKind.JOB_LONG_RUNNING, job.entity, payload=job.payload, routing=job.routing, emitted=True)
        seconds = now - (now if job.started_at is None else job.started_at)
        passed = [each for each in _passed(_run_limits(about, limits, asking), seconds) if each[0] not in job.reminded]
        if passed:
            due += [_reminder(about, f"{job.occurrence}+{step:g}", step, asked_by) for step, asked_by in passed]
            changed[job.entity] = replace(job, reminded=(*job.reminded, *(step for step, _ in passed)))
    return due, changed


def _run_limits(
    about: Event, limits: ReminderThresholds, asking: Callable[[Event], Iterable[tuple[str, float]]] | None
) -> list[tuple[str, float]]:
    """Who wants to hear of a long run, each with the limit in seconds: the configuration, the job, alert rules."""
    steps = [(CONFIGURED, step) for step in limits.running]
    alerts = about.routing.get("alerts")
    minutes = alerts.get("on_long_run_minutes") if isinstance(alerts, dict) else None
    steps += [(BY_JOB, minutes * 60.0)] if minutes else []
    return [*steps, *(asking(about) if asking is not None else ())]


def _passed(steps: Iterable[tuple[str, float]], seconds: float) -> Iterator[tuple[float, list[str]]]:
    """The limits that are passed after so many seconds, each with who set it; of several by one, only the longest."""
    longest: dict[str, float] = {}
    for who, step in steps:
        if seconds >= step:
            longest[who] = max(step, longest.get(who, 0.0))
    for step in sorted(set(longest.values())):
        yield step, [who for who, own in longest.items() if own == step]


def _reminder(about: Event, occurrence: str, step: float, asked_by: list[str]) -> Event:
    return replace(
        about,
        occurrence=occurrence,
        payload={**about.payload, "minutes": int(step // 60)},
        routing={**about.routing, "asked_by": asked_by},
    )


def _since(job: Job, kind: EventKind, seen: float, now: float) -> float:
    """Since when the job is as it is: what the tree says, where that can be true."""
    for fact in job.facts:
        if fact.kind is kind:
            try:
                moment = datetime.fromisoformat(fact.at)
                claimed = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                continue
            if 0 < claimed <= now:
                return claimed
    return seen
