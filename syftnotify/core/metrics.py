"""Counters of the outbox for monitoring, and the names under which they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from syftnotify.core.history import DELIVERED

# Upper limits of the buckets for the time until the first attempt, in seconds. Changing one makes stored counts wrong.
FIRST_ATTEMPT_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_ATTEMPTS = "attempts_"
_BUCKET = "first_attempt_le_"
_SUM = "first_attempt_ms"


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The notifications that wait for one transport."""

    transport: str
    waiting: int
    oldest_at: float  # when the oldest of them was queued, in seconds since 1970


@dataclass(frozen=True, slots=True)
class OutboxMetrics:
    """Totals since the outbox was created, which pruning does not lower, and what waits now."""

    events: int
    messages: int  # sent; a digest is one
    notifications: int  # in those messages
    attempts: Mapping[str, int]  # by outcome: `sent`, or the value of a Failure
    first_attempts: tuple[int, ...]  # by bucket, not cumulative; the last one has no limit
    first_attempt_seconds: float  # sum
    queues: tuple[QueueDepth, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of the queues at one moment."""

    at: float  # seconds since 1970
    sent: int  # messages since the outbox was created
    failed: int  # failed attempts, likewise
    waiting: int  # notifications
    oldest_age: float  # seconds since the oldest of them was queued


class SampleStore(Protocol):
    """Samples of the last days."""

    def add(self, sample: Sample, keep_since: float) -> None:
        """Store a sample, and delete those from before a moment."""

    def since(self, moment: float) -> list[Sample]:
        """The samples since a moment, in order."""


def sample_of(metrics: OutboxMetrics, now: float) -> Sample:
    """The sample at `now`."""
    failed = sum(count for outcome, count in metrics.attempts.items() if outcome != DELIVERED)
    oldest = min((queue.oldest_at for queue in metrics.queues), default=now)
    waiting = sum(queue.waiting for queue in metrics.queues)
    return Sample(now, metrics.messages, failed, waiting, max(0.0, now - oldest))


def attempt_total(outcome: str) -> str:
    """The name of the counter of attempts with this outcome."""
    return f"{_ATTEMPTS}{outcome}"


def first_attempt_totals(waits: Iterable[float]) -> dict[str, int]:
    """The increases of the counters by first attempts after these times in seconds."""
    found: dict[str, int] = {}
    for seconds in waits:
        bucket = _bucket_name(sum(seconds > limit for limit in FIRST_ATTEMPT_BUCKETS))
        found[bucket] = found.get(bucket, 0) + 1
        found[_SUM] = found.get(_SUM, 0) + round(seconds * 1000)
    return found


def outbox_metrics(totals: Mapping[str, int], queues: Iterable[QueueDepth]) -> OutboxMetrics:
    """The metrics from the stored counters."""
    return OutboxMetrics(
        events=totals.get("events", 0),
        messages=totals.get("messages", 0),
        notifications=totals.get("notifications", 0),
        attempts={name.removeprefix(_ATTEMPTS): count for name, count in totals.items() if name.startswith(_ATTEMPTS)},
        first_attempts=tuple(totals.get(_bucket_name(number), 0) for number in range(len(FIRST_ATTEMPT_BUCKETS) + 1)),
        first_attempt_seconds=totals.get(_SUM, 0) / 1000,
        queues=tuple(queues),
    )


def _bucket_name(number: int) -> str:
    limit = FIRST_ATTEMPT_BUCKETS[number] if number < len(FIRST_ATTEMPT_BUCKETS) else "inf"
    return f"{_BUCKET}{limit}"
