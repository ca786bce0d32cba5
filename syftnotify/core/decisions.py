"""Decisions that wait for the owner: jobs to review, and peer requests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from syftnotify.core.kinds import EventKind


@dataclass(frozen=True, slots=True)
class PendingDecision:
    """A job or a peer request that waits for the owner."""

    entity: str
    kind: EventKind  # of the event that asks for the decision: JOB_SUBMITTED or PEER_REQUESTED
    since: float  # seconds since 1970
    payload: Mapping[str, Any]  # that of its event, without the review


class PendingDecisionStore(Protocol):
    """The decisions that wait, as of the last scan."""

    def change(
        self, changed: Collection[PendingDecision], removed: Collection[str] = (), *, replaces: bool = False
    ) -> None:
        """Store the decisions that are new or different, and delete those about the entities `removed`.

        `replaces`: delete all others, too.
        """

    def page(self, limit: int, after: tuple[float, str] = (0.0, "")) -> list[PendingDecision]:
        """The decisions that have waited longest, after that with this time and entity."""

    def find(self, entity: str) -> PendingDecision | None:
        """The decision about an entity, if it waits."""

    def count(self) -> int:
        """The number of decisions that wait."""
