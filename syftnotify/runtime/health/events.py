"""Events about the worker itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.outbox import EventLog
from syftnotify.core.text import iso


class EnqueueEvent(Protocol):
    """Routes an event and enqueues its notifications; all of them through `transport`, if it is given."""

    def __call__(self, event: Event, now: float, *, transport: str = "") -> None: ...


class WorkerEvents:
    """Enqueues events about the worker, which are routed, stored and sent like all others."""

    def __init__(
        self,
        enqueue: EnqueueEvent,
        event_log: EventLog,
        *,
        home: Path,
        owner: str,
        clock: Callable[[], float],
        on_enqueued: Callable[[], None],
    ) -> None:
        self.worker_entity = entity_id("worker", str(home))
        self._enqueue = enqueue
        self._event_log = event_log
        self._owner = owner
        self._clock = clock
        self._on_enqueued = on_enqueued

    def enqueue(
        self, kind: EventKind, entity: str, occurrence: str, summary: str, *, transport: str = "", **payload: Any
    ) -> None:
        """Enqueue an event; `payload` is for its templates.

        Raises:
            StateError: it cannot be stored.
        """
        now = self._clock()
        content = {"owner": self._owner, "summary": summary, **payload}
        self._enqueue(Event(kind, entity, occurrence, iso(now, exact=True), content), now, transport=transport)
        self._on_enqueued()

    def enqueue_once(self, kind: EventKind, entity: str, occurrence: str, summary: str, **payload: Any) -> None:
        """Enqueue an event unless this occurrence is recorded, also by an earlier worker.

        Raises:
            StateError: the outbox cannot be used.
        """
        recorded = {(event.kind, event.occurrence) for event in self._event_log.for_entities([entity])}
        if (kind.value, occurrence) not in recorded:
            self.enqueue(kind, entity, occurrence, summary, **payload)
