"""The history of the outbox: its records, and the protocol by which they are read."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from syftnotify.core.metrics import OutboxMetrics
    from syftnotify.core.models import Event
    from syftnotify.core.outbox import OutboxCounts


# Outcomes of attempts that are not a `Failure`. Stored.
STARTED, DELIVERED = "started", "sent"


@dataclass(frozen=True, slots=True)
class NotificationRecord:
    """A notification in the history. The names of the fields are the keys of `notify history --json`."""

    id: str
    state: str  # a NotificationState
    kind: str
    entity: str
    event_key: str
    recipient: str
    audience: str
    transport: str
    route: str
    reason: str
    created_at: float
    not_before: float
    attempts: int
    tried_at: float | None  # when the last attempt began
    acknowledged_at: float | None = None  # when a user acknowledged the dead letter
    may_have_arrived: bool = False  # the outcome of an attempt is unknown


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that was sent, or may have been."""

    recipient: str
    transport: str
    bundle: str  # empty unless it was a digest
    source: str  # who caused all of it; empty if there are several, or nobody
    at: float


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event in the history."""

    key: str
    kind: str
    entity: str
    at: str  # ISO time from the tree
    noticed_at: float


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt to send a notification. Times are in seconds since 1970."""

    started_at: float
    ended_at: float | None  # None: it has not ended, or its end is unknown
    outcome: str  # `started`, `sent`, or a Failure
    error: str
    provider_id: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job with recorded events, and the latest of them."""

    entity: str
    kind: str
    at: str  # ISO time from the tree
    noticed_at: float
    payload: Mapping[str, Any]
    position: int


@dataclass(frozen=True, slots=True)
class DetectedEvent:
    """An event, and when it was detected, in seconds since 1970."""

    event: Event
    detected_at: float


class History(Protocol):
    """The notifications with their recipients and outcomes, and the jobs with recorded events."""

    def notifications(
        self,
        *,
        states: Collection[str] = (),
        kinds: Collection[str] = (),
        about: str = "",
        recipient: str = "",
        transport: str = "",
        since: float | None = None,
        before: str = "",
        skipped_for: str = "",
        limit: int | None = None,
    ) -> list[NotificationRecord]:
        """The notifications that match all given filters, newest first.

        `about` is an entity id or the name of a job; `since` is compared with the time of detection. `before` is the id
        of a notification: only earlier ones. `skipped_for` is a reason: only those that are skipped for it.
        """

    def find(self, notification_id: str) -> NotificationRecord | None:
        """One notification."""

    def attempts(self, notification_id: str) -> list[AttemptRecord]:
        """The attempts to send a notification, oldest first."""

    def jobs(self, *, recipient: str = "", before: int | None = None, limit: int) -> list[JobRecord]:
        """The jobs with recorded events, the one with the latest event first.

        `recipient`: only those of which this person has a notification, the one with the latest notification first.
        `before`: a position; only earlier ones.
        """

    def job(self, entity: str) -> JobRecord | None:
        """The job with this entity, and its latest event."""

    def events(self, about: str, *, limit: int | None = None) -> list[EventRecord]:
        """The events of an entity, or of all jobs of that name, oldest first; at most `limit`, the latest."""

    def event(self, key: str) -> Event | None:
        """One event as it was recorded; None if it is not kept, or is damaged."""

    def latest(self, entity: str, kinds: Collection[str]) -> DetectedEvent | None:
        """The latest event of an entity that has one of these kinds."""

    def starts(self, entities: Collection[str]) -> dict[str, list[float]]:
        """When starts of runs of these entities were detected, in order, by entity."""

    def run_ends(self, kinds: Collection[str], since: float, limit: int) -> list[DetectedEvent]:
        """The latest events of these kinds, all of `END_KINDS`, that were detected since then, newest first."""

    def sent_since(self, since: float) -> list[SentMessage]:
        """The messages that were sent, or may have been, since then, in order."""

    def last_sent(self, transport: str) -> float | None:
        """When the last message was sent through `transport`."""

    def counts(self, *, holding: Collection[str] = ()) -> OutboxCounts:
        """Numbers of notifications; transports that are `holding` do not resend unknown outcomes."""

    def metrics(self, *, holding: Collection[str] = ()) -> OutboxMetrics:
        """Counters for monitoring. `holding`: the transports of which unknown outcomes do not wait, but are held."""

    def prune(
        self, before: float, now: float, *, exempt: Container[str], limit: int | None = None, dry_run: bool = False
    ) -> int:
        """Delete the events detected before that moment that have nothing unfinished; returns how many.

        At most `limit`, the oldest. Events with unacknowledged dead letters, events of the entities `exempt`, and the
        worker's own alerts of the last days are kept.
        """
