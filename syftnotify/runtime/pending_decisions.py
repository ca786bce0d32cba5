"""Records which jobs and peer requests wait for the owner, for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from syftnotify.core.decisions import PendingDecision, PendingDecisionStore
from syftnotify.core.detection import job_payload
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Job
from syftnotify.core.reminders import status_since
from syftnotify.core.submissions import requests_of
from syftnotify.services.review import call_of


class PendingDecisions:
    """Stores what has changed since the last scan; the first time, everything."""

    def __init__(self, store: PendingDecisionStore) -> None:
        self._store = store
        self._jobs: dict[str, tuple[Job, float]] = {}
        self._peers: dict[str, PendingDecision] = {}
        self._is_stored = False

    def reset(self) -> None:
        """Store everything at the next `record`, after the outbox was replaced."""
        self._is_stored = False

    def record(self, waiting: Mapping[str, tuple[Job, float]], peers: Iterable[PendingDecision], now: float) -> None:
        """Store the jobs that wait for review, and the peer requests without an answer.

        Each job is paired with the time at which its status was first seen.
        """
        known = self._peers if self._is_stored else {}
        # A request has no time in the tree: the one at which it was first seen is kept.
        requests = {
            each.entity: replace(each, since=known[each.entity].since) if each.entity in known else each
            for each in peers
        }
        before = self._jobs if self._is_stored else {}
        # A job that was not read again is the same object.
        changed = [_of_job(*pair, now) for entity, pair in waiting.items() if before.get(entity) is not pair]
        changed += [each for entity, each in requests.items() if known.get(entity) != each]
        removed = [entity for entity in (*before, *known) if entity not in waiting and entity not in requests]
        if changed or removed or not self._is_stored:
            self._store.change(changed, removed, replaces=not self._is_stored)
        self._jobs, self._peers, self._is_stored = dict(waiting), requests, True


def _of_job(job: Job, seen: float, now: float) -> PendingDecision:
    payload = {**job_payload(job), "requests": requests_of(job.details), "call": call_of(job)}
    return PendingDecision(job.entity, EventKind.JOB_SUBMITTED, status_since(job, seen, now), payload)
