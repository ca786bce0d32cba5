"""What waits for the owner: jobs to review and peer requests, the oldest first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from syftnotify.core.decisions import PendingDecision
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Event, Item
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.cursors import make_cursor, read_cursor

_SCOPE = "decisions"
# The events that have a review of the files of a job.
_REVIEWED = (EventKind.JOB_SUBMITTED.value, EventKind.JOB_FILES_CHANGED.value)
_REVIEW_KEYS = ("code", "code_left_out", "review")


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """A page of decisions that wait, the oldest first."""

    decisions: list[PendingDecision]
    cursor: str | None  # of the next page; None: this is the last one


def decision_page(outbox: OutboxStore, *, cursor: str = "", limit: int) -> DecisionPage:
    """A page of what waits for the owner. Raises: ConfigError, the cursor is not one of this list."""
    after = (0.0, "")
    if cursor:
        since, _, entity = read_cursor(cursor, _SCOPE, outbox).partition(" ")
        after = float(since), entity
    found = outbox.decisions.page(limit + 1, after)
    page = found[:limit]
    following = make_cursor(_SCOPE, f"{page[-1].since!r} {page[-1].entity}", outbox) if len(found) > limit else None
    return DecisionPage(page, following)


def reviewed_item(outbox: OutboxStore, entity: str) -> Item | None:
    """The latest submission or change of the files of a job, with their review; None: none is recorded."""
    found = outbox.history.latest(entity, _REVIEWED)
    if found is None or not any(key in found.event.payload for key in _REVIEW_KEYS):
        return None
    return Item("", found.event, Audience.OWNER, Status.WAITING, found.detected_at)


def decision_item(outbox: OutboxStore, decision: PendingDecision) -> Item:
    """A decision with the review of its files, as mails render it."""
    payload = dict(decision.payload)
    if decision.kind is EventKind.JOB_SUBMITTED:
        reviewed = outbox.history.latest(decision.entity, _REVIEWED)
        of_job = reviewed.event.payload if reviewed is not None else {}
        # One of an earlier submission of the same name has another time.
        if reviewed is not None and of_job.get("submitted_at") == payload.get("submitted_at"):
            payload |= {key: of_job[key] for key in _REVIEW_KEYS if key in of_job}
    event = Event(decision.kind, decision.entity, payload=payload)
    times = payload.get("times")
    if isinstance(times, dict):
        event = replace(event, at=str(times.get("submitted") or ""))
    return Item("", event, Audience.OWNER, Status.WAITING, decision.since)
