"""Jobs of other schedulers, kept between their emitted events.

Options such as recipients are given once, usually when a job is submitted, and apply to its later events as well. Jobs
that have started get reminders about long runs. Both end with the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.kinds import FINAL_KINDS, EventKind
from syftnotify.core.models import Event

# A job without an event for this long is dropped: its end was never emitted.
EXPIRY_SECONDS = 180 * 86400.0


@dataclass(frozen=True, slots=True)
class EmittedJob:
    """One job, from its first emitted event to the one that ends it."""

    entity: str
    payload: Mapping[str, Any] = field(default_factory=dict)  # of the last event that had one
    routing: Mapping[str, Any] = field(default_factory=dict)  # the options of all its events
    started_at: float | None = None  # when the last `job_started` was received, in seconds since 1970
    occurrence: str = ""  # of that `job_started`
    reminded: tuple[float, ...] = ()  # thresholds of that run, in seconds, that were reported


EmittedJobChanges = dict[str, EmittedJob | None]  # by entity; None: the job has ended


def with_job_options(
    events: Iterable[Event], known: Mapping[str, EmittedJob], now: float
) -> tuple[list[Event], EmittedJobChanges]:
    """The events with the options kept for their jobs, and the changes of the kept jobs.

    `events` are new and in the order in which they were emitted; `known` holds the jobs kept so far, by entity.
    """
    routed: list[Event] = []
    changes: EmittedJobChanges = {}
    for event in events:
        if not event.kind.is_about_job:
            routed.append(event)
            continue
        entity = event.entity
        job = changes[entity] if entity in changes else known.get(entity)
        complete = replace(event, routing=merge_options(job.routing if job else {}, event.routing))
        routed.append(complete)
        is_final = event.kind in FINAL_KINDS
        changes[entity] = None if is_final else _updated(job or EmittedJob(entity), complete, now)
    return routed, changes


def _updated(job: EmittedJob, event: Event, now: float) -> EmittedJob:
    job = replace(job, payload=event.payload or job.payload, routing=event.routing)
    if event.kind is EventKind.JOB_STARTED:
        job = replace(job, started_at=now, occurrence=event.occurrence, reminded=())
    return job


def merge_options(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The options of both; a later one replaces an earlier one of the same name."""
    merged = {**earlier, **later}
    if "notify" in merged:  # holds two options, `--notify-email` and `--notify-on`
        merged["notify"] = {**earlier.get("notify", {}), **later.get("notify", {})}
    return merged
