"""Alert rules of a job: `/jobs/{id}/alerts` and `/alerts/{id}`, also below `/v1`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response

from syftnotify.core.identifiers import entity_of_url_id
from syftnotify.core.models import AlertRule
from syftnotify.core.text import hostname
from syftnotify.services.alert_rules import add_api_rule, delete_rule, rules_of_job
from syftnotify.web.access import DENIALS, Operator
from syftnotify.web.problems import responses
from syftnotify.web.records import AlertRecord
from syftnotify.web.requests import AlertRequest
from syftnotify.web.state import State

router = APIRouter(tags=["alert rules"])

JobId = Annotated[
    str, Path(min_length=1, max_length=6000, description="name or entity of the job, or its id of `/v1/jobs`")
]
RuleId = Annotated[str, Path(min_length=1, max_length=64, description="id of the rule")]


def _record(rule: AlertRule) -> AlertRecord:
    return AlertRecord.of(rule, hostname(rule.target) if rule.has_url else rule.target)


@router.get("/jobs/{job_id:path}/alerts", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND))
def list_alerts(_: Operator, state: State, job_id: JobId) -> list[AlertRecord]:
    """The alert rules of one job, the oldest first."""
    return [_record(rule) for rule in rules_of_job(state.outbox, entity_of_url_id(job_id))]


@router.post(
    "/jobs/{job_id:path}/alerts",
    status_code=HTTPStatus.CREATED,
    responses=responses(*DENIALS, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, has_body=True),
)
def add_alert(_: Operator, state: State, job_id: JobId, body: AlertRequest) -> AlertRecord:
    """Add an alert rule. The job need not exist yet; a running worker applies the rule from its next scan on."""
    rule = add_api_rule(
        state.settings,
        state.outbox,
        entity_of_url_id(job_id),
        is_email=body.alert_type == "email",
        target=body.target,
        on_failure=body.on_failure,
        on_timeout=body.on_timeout,
    )
    return _record(rule)


@router.delete(
    "/alerts/{alert_id}", status_code=HTTPStatus.NO_CONTENT, responses=responses(*DENIALS, HTTPStatus.NOT_FOUND)
)
def delete_alert(_: Operator, state: State, alert_id: RuleId) -> Response:
    """Delete an alert rule."""
    delete_rule(state.outbox, alert_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
