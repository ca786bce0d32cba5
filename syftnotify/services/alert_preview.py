"""How often an alert rule would have fired, according to the history."""

from __future__ import annotations

import bisect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syftnotify.core.history import DetectedEvent
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import AlertRule, Event
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.routing import route_of
from syftnotify.core.text import timestamp

PREVIEW_DAYS = 30
_MAX_ENDS = 20_000  # ends of runs that are read
_MAX_LISTED = 50


@dataclass(frozen=True, slots=True)
class Firing:
    """An event about which the rule would have notified."""

    kind: EventKind  # JOB_LONG_RUNNING for a run that took too long
    event: Event  # the end of the run
    detected_at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class RulePreview:
    """The result of applying a rule to the history."""

    count: int
    firings: list[Firing]  # the latest ones, newest first
    days: int
    is_complete: bool  # False: the history has more ends of runs than were read


def preview_rule(outbox: OutboxStore, rule: AlertRule) -> RulePreview:
    """When `rule` would have fired within the last `PREVIEW_DAYS`. Runs that have not ended are not counted."""
    route = route_of(rule)
    wanted = route.kinds or frozenset()
    minutes = rule.on_long_run_minutes
    ends = {EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT}
    kinds = [kind.value for kind in (ends if minutes else ends & wanted)]
    since = time.time() - PREVIEW_DAYS * 86400.0
    found = outbox.history.run_ends(kinds, since, _MAX_ENDS + 1) if kinds else []
    matching = [each for each in found[:_MAX_ENDS] if route.match.matches(each.event)]
    starts = outbox.history.starts({each.event.entity for each in matching if each.event.emitted}) if minutes else {}
    firings: list[Firing] = []
    for each in matching:
        if each.event.kind in wanted:
            firings.append(Firing(each.event.kind, each.event, each.detected_at))
        if minutes and (seconds := _duration(each, starts)) is not None and seconds >= minutes * 60.0:
            firings.append(Firing(EventKind.JOB_LONG_RUNNING, each.event, each.detected_at))
    return RulePreview(len(firings), firings[:_MAX_LISTED], PREVIEW_DAYS, len(found) <= _MAX_ENDS)


def _duration(ended: DetectedEvent, starts: Mapping[str, Sequence[float]]) -> float | None:
    """The seconds of a run: by the times in the tree, for an emitted job by when its events were received."""
    times = ended.event.payload.get("times")
    if isinstance(times, Mapping):
        start, end = (timestamp(str(times.get(name) or "")) for name in ("approved", "ended"))
        return None if start is None or end is None else end - start
    of_entity = starts.get(ended.event.entity, ())
    number = bisect.bisect_right(of_entity, ended.detected_at)
    return ended.detected_at - of_entity[number - 1] if number else None
