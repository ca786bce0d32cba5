"""Events about the worker itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from syftnotify.core.alerts import Alert, alert_payload
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
        self, kind: EventKind, entity: str, occurrence: str, payload: Mapping[str, Any], *, via: str = ""
    ) -> None:
        """Enqueue an event; `payload` is for its templates. It is sent through the transport `via`, if it is given.

        Raises:
            StateError: it cannot be stored.
        """
        now = self._clock()
        content = {"owner": self._owner, **payload}
        self._enqueue(Event(kind, entity, occurrence, iso(now, exact=True), content), now, transport=via)
        self._on_enqueued()

    def alert(self, alert: Alert, entity: str, occurrence: str, payload: Mapping[str, Any], *, via: str = "") -> None:
        """Enqueue an alert; `payload` has the values of its summary and of its templates.

        Raises:
            StateError: it cannot be stored.
        """
        self.enqueue(EventKind.SYSTEM_ALERT, entity, occurrence, alert_payload(alert, payload), via=via)

    def is_recorded(self, kind: EventKind, entity: str, occurrence: str) -> bool:
        """Whether this occurrence was enqueued, also by an earlier worker.

        Raises:
            StateError: the outbox cannot be used.
        """
        recorded = {(event.kind, event.occurrence) for event in self._event_log.for_entities([entity])}
        return (kind.value, occurrence) in recorded
