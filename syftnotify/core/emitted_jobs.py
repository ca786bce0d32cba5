"""What is remembered of the jobs of other schedulers between their emitted events. Pure.

Options are given once, usually when a job is submitted; its later events are routed by them, too. A job that has
started takes part in the warnings about long runs. Both end with the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.kinds import FINAL_KINDS, EventKind
from syftnotify.core.models import Event

# After so long without an event a job is forgotten: its end was never emitted.
FORGOTTEN_SECONDS = 180 * 86400.0


@dataclass(frozen=True, slots=True)
class EmittedJob:
    """One job, from its first emitted event to the one that ends it."""

    entity: str
    payload: Mapping[str, Any] = field(default_factory=dict)  # of the last event that had one
    routing: Mapping[str, Any] = field(default_factory=dict)  # the options of all its events
    started_at: float | None = None  # when the last `job_started` was taken in, in seconds since 1970
    occurrence: str = ""  # of that `job_started`
    reminded: tuple[float, ...] = ()  # limits of that run, in seconds, that have been reported


JobChanges = dict[str, EmittedJob | None]  # by entity; None: the job has ended


def with_remembered(
    events: Iterable[Event], known: Mapping[str, EmittedJob], now: float
) -> tuple[list[Event], JobChanges]:
    """The events with the options that are remembered for their jobs, and what to remember from now on.

    `events` are new and in the order in which they were emitted; `known` holds the jobs remembered so far.
    """
    routed: list[Event] = []
    changes: JobChanges = {}
    for event in events:
        if not event.kind.is_about_job:
            routed.append(event)
            continue
        entity = event.entity
        job = changes[entity] if entity in changes else known.get(entity)
        complete = replace(event, routing=merged(job.routing if job else {}, event.routing))
        routed.append(complete)
        if event.kind in FINAL_KINDS:
            changes[entity] = None
        else:
            changes[entity] = _after(job or EmittedJob(entity), complete, now)
    return routed, changes


def _after(job: EmittedJob, event: Event, now: float) -> EmittedJob:
    job = replace(job, payload=event.payload or job.payload, routing=event.routing)
    if event.kind is EventKind.JOB_STARTED:
        job = replace(job, started_at=now, occurrence=event.occurrence, reminded=())
    return job


def merged(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The options of both; a later one replaces an earlier one of the same name."""
    both = {**earlier, **later}
    if "notify" in both:  # `--notify-email` and `--notify-on` are two options
        both["notify"] = {**earlier.get("notify", {}), **later.get("notify", {})}
    return both
