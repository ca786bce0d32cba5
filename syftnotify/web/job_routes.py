"""`/v1/jobs`: jobs with their timeline and the explanation of who was notified."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from syftnotify.core.identifiers import entity_of_url_id
from syftnotify.core.tokens import Role, Token
from syftnotify.services.jobs import explain_job, job_page
from syftnotify.web.access import DENIALS, Reader
from syftnotify.web.alert_routes import JobId
from syftnotify.web.problems import responses
from syftnotify.web.records import JobList, JobSummary, Timeline
from syftnotify.web.requests import PAGE_LIMIT, CursorQuery, LimitQuery
from syftnotify.web.state import State

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("", responses=responses(*DENIALS))
def list_jobs(
    token: Reader,
    state: State,
    cursor: CursorQuery = "",
    limit: LimitQuery = PAGE_LIMIT,
) -> JobList:
    """The jobs with recorded events; a viewer sees those of which the inbox has a notification."""
    page = job_page(state.outbox, user=_restricted_to(token), cursor=cursor, limit=limit)
    return JobList(jobs=[*map(JobSummary.of, page.jobs)], cursor=page.cursor)


@router.get("/{job_id:path}", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND))
def get_job(token: Reader, state: State, job_id: JobId) -> Timeline:
    """The events of a job, and for each who was notified, why, and with which result."""
    job = entity_of_url_id(job_id)
    return Timeline.of(job, explain_job(state.outbox, state.ledger(), job, user=_restricted_to(token)))


def _restricted_to(token: Token) -> str:
    """The person to whose jobs the token is restricted; empty: it is not."""
    return "" if token.role is Role.OPERATOR else token.user
