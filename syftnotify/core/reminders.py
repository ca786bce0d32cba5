"""Reminders about jobs that wait for review or run for a long time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from syftnotify.core.detection import NotifiedIndex, job_payload, job_routing
from syftnotify.core.emitted_jobs import EmittedJob
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import ASKED_BY_CONFIG, ASKED_BY_JOB, Event, Job
from syftnotify.core.submissions import requests_of
from syftnotify.core.text import timestamp

# Thresholds that alert rules set for the job of an event: pairs of the source and seconds.
ThresholdsFor = Callable[[Event], Iterable[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class ReminderThresholds:
    """The durations in seconds after which reminders about waiting and about running jobs are sent."""

    waiting: tuple[float, ...] = ()
    running: tuple[float, ...] = ()


def due_reminders(
    jobs: Iterable[tuple[Job, float]],
    notified: NotifiedIndex,
    thresholds: ReminderThresholds,
    *,
    now: float,
    extra_thresholds: ThresholdsFor | None = None,
) -> list[Event]:
    """The reminders that are due, one for each threshold that is passed.

    `jobs` have not ended; each is paired with the time at which its status was first seen. If several thresholds of one
    source are passed, only the longest is reported. The sources are recorded in the routing as `asked_by`.
    `extra_thresholds` returns those of alert rules. Times are in seconds.
    """
    due = []
    for job, seen in jobs:
        is_waiting = job.status is Status.WAITING
        may_run_too_long = thresholds.running or extra_thresholds is not None or "alerts" in job.details
        if not (thresholds.waiting if is_waiting else may_run_too_long):
            continue  # spares most jobs the event below
        kind = EventKind.JOB_WAITING if is_waiting else EventKind.JOB_LONG_RUNNING
        payload = {**job_payload(job), "requests": requests_of(job.details)}
        template = Event(kind, job.entity, payload=payload, routing=job_routing(job))
        if is_waiting:
            limits = [(ASKED_BY_CONFIG, seconds) for seconds in thresholds.waiting]
        else:
            limits = _running_limits(template, thresholds, extra_thresholds)
        since = status_since(job, seen, now)
        for seconds, sources in _passed(limits, now - since):
            occurrence = f"{job.submission_id}+{seconds:g}"
            if not notified.is_recorded(job.entity, kind, occurrence):
                due.append(_reminder(template, occurrence, seconds, sources))
    return due


def due_emitted_reminders(
    jobs: Iterable[EmittedJob],
    thresholds: ReminderThresholds,
    *,
    now: float,
    extra_thresholds: ThresholdsFor | None = None,
) -> tuple[list[Event], dict[str, EmittedJob]]:
    """The reminders that are due about long runs of emitted jobs, and these jobs with the new state of `reminded`.

    `jobs` have started and not ended. For the other parameters see `due_reminders`.
    """
    due: list[Event] = []
    changed: dict[str, EmittedJob] = {}
    for job in jobs:
        template = Event(EventKind.JOB_LONG_RUNNING, job.entity, payload=job.payload, routing=job.routing, emitted=True)
        running = 0.0 if job.started_at is None else now - job.started_at
        limits = _running_limits(template, thresholds, extra_thresholds)
        passed = [each for each in _passed(limits, running) if each[0] not in job.reminded]
        if passed:
            due += [
                _reminder(template, f"{job.occurrence}+{seconds:g}", seconds, sources) for seconds, sources in passed
            ]
            changed[job.entity] = replace(job, reminded=(*job.reminded, *(seconds for seconds, _ in passed)))
    return due, changed


def _running_limits(
    template: Event, thresholds: ReminderThresholds, extra_thresholds: ThresholdsFor | None
) -> list[tuple[str, float]]:
    """The thresholds for long runs, in seconds, each with its source: the configuration, the job, alert rules."""
    limits = [(ASKED_BY_CONFIG, seconds) for seconds in thresholds.running]
    alerts = template.routing.get("alerts")
    minutes = alerts.get("on_long_run_minutes") if isinstance(alerts, dict) else None
    if minutes:
        limits.append((ASKED_BY_JOB, minutes * 60.0))
    return [*limits, *(extra_thresholds(template) if extra_thresholds is not None else ())]


def _passed(limits: Iterable[tuple[str, float]], duration: float) -> Iterator[tuple[float, list[str]]]:
    """The thresholds that `duration` has passed, each with its sources; of several of one source, only the longest."""
    longest: dict[str, float] = {}
    for source, seconds in limits:
        if duration >= seconds:
            longest[source] = max(seconds, longest.get(source, 0.0))
    for seconds in sorted(set(longest.values())):
        yield seconds, [source for source, own in longest.items() if own == seconds]


def _reminder(template: Event, occurrence: str, seconds: float, sources: list[str]) -> Event:
    """The event `template`, a reminder without its threshold, for the threshold `seconds` of `sources`."""
    return replace(
        template,
        occurrence=occurrence,
        payload={**template.payload, "minutes": int(seconds // 60)},
        routing={**template.routing, "asked_by": sources},
    )


def status_since(job: Job, seen: float, now: float) -> float:
    """Since when a job waits, or was approved: the time in the tree if it is plausible, otherwise `seen`."""
    kind = EventKind.JOB_SUBMITTED if job.status is Status.WAITING else EventKind.JOB_APPROVED
    for fact in job.facts:
        if fact.kind is not kind:
            continue
        claimed = timestamp(fact.at)
        if claimed is not None and 0 < claimed <= now:
            return claimed
    return seen
