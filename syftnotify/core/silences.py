"""Silences: notifications about some events are recorded as skipped, for a time or until a job's state changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from syftnotify.core.kinds import WORKER_KINDS, EventKind
from syftnotify.core.matching import Match
from syftnotify.core.models import Event

# A change is found in the history, which may be pruned later; and nobody remembers older silences.
MAX_UNTIL_CHANGE = 30 * 86400.0  # seconds


class SilenceState(StrEnum):
    """Whether a silence applies now."""

    PENDING = "pending"  # it begins later
    ACTIVE = "active"
    EXPIRED = "expired"  # its time is over, or a user has ended it


@dataclass(frozen=True, slots=True)
class Silence:
    """Which events notify nobody, and until when. Moments are in seconds since 1970.

    The worker's own events are never silenced: its alerts about failing transports would be lost.
    """

    id: str
    author: str
    reason: str
    match: Match
    kinds: frozenset[EventKind] | None = None  # None: every kind
    starts_at: float = 0.0
    ends_at: float | None = None  # None: for each job until its state changes, at most `MAX_UNTIL_CHANGE`
    created_at: float = 0.0
    expired_at: float | None = None  # when a user has ended it

    @property
    def is_until_change(self) -> bool:
        """Whether it ends for each job with the next change of its state, instead of at a moment."""
        return self.ends_at is None

    @property
    def end(self) -> float:
        """When it ends at the latest, or has ended."""
        if self.expired_at is not None:
            return self.expired_at
        return self.starts_at + MAX_UNTIL_CHANGE if self.ends_at is None else self.ends_at

    def state(self, now: float) -> SilenceState:
        if self.end <= now:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if now < self.starts_at else SilenceState.ACTIVE

    def covers(self, event: Event) -> bool:
        """Whether its conditions hold for `event`, at whatever time."""
        is_kind = self.kinds is None or event.kind in self.kinds
        return is_kind and event.kind not in WORKER_KINDS and self.match.matches(event)

    @property
    def text(self) -> str:
        """Why a notification is skipped."""
        return f"silence {self.id}: {self.reason}" if self.reason else f"silence {self.id}"


def is_change(kind: EventKind) -> bool:
    """Whether events of this kind end silences until a change."""
    return kind.spec.status_after is not None or kind.spec.is_final or kind is EventKind.PEER_GRANTED


def silence_reason(
    event: Event,
    silences: Iterable[Silence],
    now: float,
    has_changed: Callable[[str, float], bool],
    *,
    detected_at: float = math.inf,
) -> str:
    """Why nobody is notified of `event`; empty: it is not silenced.

    `has_changed` tests whether the state of an entity has changed since a moment. The change that ends a silence is
    notified, but not one from before the silence, which is queued. `detected_at` is that of a queued event.
    """
    for silence in silences:
        if silence.state(now) is SilenceState.ACTIVE and silence.covers(event):
            is_over = silence.is_until_change and (
                (is_change(event.kind) and detected_at > silence.starts_at)
                or has_changed(event.entity, silence.starts_at)
            )
            if not is_over:
                return silence.text
    return ""


class SilenceStore(Protocol):
    """The silences of a home."""

    def add(self, silence: Silence) -> None:
        """Store a new silence."""

    def all(self) -> list[Silence]:
        """All silences, also expired ones, the oldest first."""

    def expire(self, silence_id: str, now: float) -> None:
        """End a silence at `now`, unless it has ended."""

    def count_suppressed(self, silence: Silence) -> int:
        """The number of notifications that a silence has suppressed."""

    def has_changed(self, entity: str, since: float) -> bool:
        """Whether an event that changes the state of `entity` was detected after `since`."""
