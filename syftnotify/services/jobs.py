"""Jobs as other programs and people name them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from syftnotify.core.errors import NotFoundError, NotifyError
from syftnotify.core.history import JobRecord
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import escape
from syftnotify.services.cursors import make_cursor, read_cursor
from syftnotify.services.history import Explanation, NotifiedLedger, explain


def job_name(job: JobRecord) -> str:
    """The name of a job; empty if its last event has none."""
    return str(job.payload.get("name") or job.payload.get("workflow_name") or "")


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of jobs, the one with the latest event first."""

    jobs: list[JobRecord]
    cursor: str | None  # of the next page; None: this is the last one


def job_page(outbox: OutboxStore, *, user: str = "", cursor: str = "", limit: int) -> JobPage:
    """A page of the jobs with recorded events; with `user`, of those of which this person has a notification.

    Raises:
        ConfigError: the cursor is not one of these jobs.
    """
    scope = stable_hash("jobs", user)[:16]
    before = int(read_cursor(cursor, scope, outbox)) if cursor else None
    found = outbox.history.jobs(recipient=user, before=before, limit=limit + 1)
    jobs = found[:limit]
    return JobPage(jobs, make_cursor(scope, str(jobs[-1].position), outbox) if len(found) > limit else None)


def explain_job(
    outbox: OutboxStore, ledger: NotifiedLedger | None, job: str, *, user: str = "", limit: int | None = None
) -> Explanation:
    """What happened to a job, and who was notified; with `user`, only if this person has a notification of it.

    That person sees only the own notifications. At most `limit` events, the latest.

    Raises:
        NotFoundError: nothing is recorded about it, or nothing that concerns `user`.
    """
    try:
        found = explain(outbox, ledger, job, limit=limit)
    except NotifyError as error:
        raise NotFoundError(str(error)) from None
    if not user:
        return found
    own = [
        replace(each, notifications=tuple(item for item in each.notifications if item.recipient.lower() == user))
        for each in found.events
    ]
    named = {each.event.entity for each in own if each.notifications}
    if not named:
        raise NotFoundError(f"nothing is recorded about {escape(job, limit=60)!r}")
    return Explanation((), tuple(each for each in own if each.event.entity in named))
