"""Limit of events per submitter and minute."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from syftnotify.core.models import Event
from syftnotify.core.routing import UNVERIFIED_SOURCE, RoutingContext, is_unverified, source_of
from syftnotify.core.text import escape
from syftnotify.core.throttle import SlidingWindow

log = logging.getLogger(__name__)

EVENTS_PER_MINUTE = 100


class EventLimit:
    """Delays the events of submitters who cause too many.

    A delayed job is read again when the limit allows. What is still true then is detected again, so nothing is lost.
    Events that have become outdated meanwhile are never sent.
    """

    def __init__(self) -> None:
        self._admitted = SlidingWindow(EVENTS_PER_MINUTE, 60.0)  # by source
        self._delayed: dict[str, str] = {}  # entities, oldest first, with their source

    @property
    def delayed(self) -> int:
        """The number of delayed jobs."""
        return len(self._delayed)

    def clear(self) -> None:
        """Clear the delayed jobs, because all jobs are read again."""
        self._delayed.clear()

    def pop_ready(self, now: float) -> list[str]:
        """The delayed entities that may be read again, as many of each source as the limit allows."""
        free: dict[str, int] = {}  # events that the limit still allows, by source
        ready = []
        for entity, source in self._delayed.items():
            if source not in free:
                free[source] = EVENTS_PER_MINUTE - self._admitted.count(source, now)
            if free[source] > 0:
                free[source] -= 1
                ready.append(entity)
        for entity in ready:
            del self._delayed[entity]
        return ready

    def admit(self, events: Sequence[Event], context: RoutingContext, now: float) -> list[Event]:
        """The events within the limit; the others are delayed."""
        admitted: list[Event] = []
        delayed = Counter[str]()
        for event in events:
            # Unverified submitters share one limit: the tree decides how many names they have.
            source = UNVERIFIED_SOURCE if is_unverified(event, context) else source_of(event)
            if self._admitted.is_full(source, now):
                self._delayed[event.entity] = source
                delayed[source] += 1
            else:
                self._admitted.record(source, now)
                admitted.append(event)
        for source, count in delayed.items():
            name = "unverified submitters" if source == UNVERIFIED_SOURCE else escape(source)
            log.info("delayed %d events of %s: more than %d in a minute", count, name, EVENTS_PER_MINUTE)
        return admitted
