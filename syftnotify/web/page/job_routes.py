"""Jobs: the list, and for each one its timeline, who was notified and why, and its alert rules."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Query, Request
from fastapi.responses import Response

from syftnotify.core.errors import NotFoundError, NotifyError
from syftnotify.core.history import JobRecord, NotificationRecord
from syftnotify.core.identifiers import entity_of_url_id, url_id
from syftnotify.core.kinds import Audience, Status, find_kind
from syftnotify.core.matching import literal
from syftnotify.core.models import Event, Item, NotificationState
from syftnotify.core.text import escape
from syftnotify.rendering.context import Reader, template_context
from syftnotify.rendering.links import Links
from syftnotify.services.alert_rules import add_api_rule, delete_rule, rules_of_job
from syftnotify.services.decisions import reviewed_item
from syftnotify.services.explanations import AbsenceExplainer
from syftnotify.services.history import EventExplanation, Explanation
from syftnotify.services.jobs import explain_job, job_name, job_page
from syftnotify.services.silences import silences_of
from syftnotify.web.page.access import FORM_OF_OPERATOR, CheckedForm, OperatorParameter, Visitor, VisitorParameter
from syftnotify.web.page.rendering import go_to, page_router, render, zone_of
from syftnotify.web.page.rule_routes import is_mail_target, rule_view
from syftnotify.web.page.waiting_routes import decision_view, item_variables
from syftnotify.web.problems import error_detail
from syftnotify.web.state import ServerState, State

router = page_router()

_PAGE_SIZE = 50
_MAX_EVENTS = 200  # events of a timeline that are shown, the latest ones
JobId = Annotated[str, Path(min_length=1, max_length=6000)]
Person = Annotated[str, Query(max_length=254)]
_TONES = {"completed": "ok", "approved": "ok", "failed": "failed", "timeout": "failed", "rejected": "failed"}


@router.get("/jobs")
def list_jobs(request: Request, state: State, visitor: VisitorParameter, cursor: str = "", name: str = "") -> Response:
    """The jobs with recorded events, the one with the latest event first; or the page of the job with a name."""
    error, name = "", name.strip()
    if name:
        try:
            explain_job(state.outbox, state.ledger(), name, user=_restricted_to(visitor), limit=1)
        except NotFoundError:
            error = "No job or entity has this name. Enter a whole name; patterns are not searched."
        else:
            return go_to(f"/jobs/{url_id(name)}")
    page = job_page(state.outbox, user=_restricted_to(visitor), cursor=cursor, limit=_PAGE_SIZE)
    return render(
        request,
        "jobs.html",
        visitor,
        status=HTTPStatus.NOT_FOUND if error else HTTPStatus.OK,
        jobs=[*map(_job_view, page.jobs)],
        cursor=page.cursor,
        is_first=not cursor,
        name=name,
        error=error,
    )


@router.get("/jobs/{job_id}")
def show_job(request: Request, state: State, visitor: VisitorParameter, job_id: JobId, person: Person = "") -> Response:
    """A job: its timeline, who was notified of each event, and its alert rules."""
    # The explanation names other recipients.
    return _job(request, state, visitor, job_id, person=person.strip().lower() if visitor.is_operator else "")


@router.post("/jobs/{job_id}/rules")
def add_rule(request: Request, state: State, visitor: OperatorParameter, job_id: JobId, form: CheckedForm) -> Response:
    """Add an alert rule of this job."""
    target = form.get("target")
    try:
        add_api_rule(
            state.settings,
            state.outbox,
            entity_of_url_id(job_id),
            is_email=is_mail_target(target),
            target=target,
            on_failure=form.has("on_failure"),
            on_timeout=form.has("on_timeout"),
        )
    except NotifyError as error:
        return _job(request, state, visitor, job_id, error=error_detail(error), target=target)
    return go_to(f"/jobs/{job_id}", "rules", done="rule-added")


@router.post("/jobs/{job_id}/rules/{rule_id}/delete", dependencies=FORM_OF_OPERATOR)
def remove_rule(state: State, job_id: JobId, rule_id: str) -> Response:
    """Delete an alert rule that applies to this job."""
    delete_rule(state.outbox, rule_id)
    return go_to(f"/jobs/{job_id}", "rules", done="rule-deleted")


def _job(
    request: Request,
    state: ServerState,
    visitor: Visitor,
    job_id: str,
    *,
    person: str = "",
    error: str = "",
    target: str = "",
) -> Response:
    name = entity_of_url_id(job_id)
    decision = state.outbox.decisions.find(name) if visitor.is_operator else None
    try:
        found = explain_job(state.outbox, state.ledger(), name, user=_restricted_to(visitor), limit=_MAX_EVENTS + 1)
    except NotFoundError:
        if decision is None:
            raise
        found = Explanation((), ())
    events = found.events[-_MAX_EVENTS:]
    explainer = AbsenceExplainer(state.settings, state.outbox) if person else None
    people = sorted({item.recipient for each in found.events for item in each.notifications})
    record = state.outbox.history.job(found.entities[0]) if found.entities else None
    event = None if record is None else _latest_event(record)
    return render(
        request,
        "job.html",
        visitor,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        job_id=job_id,
        name=escape(job_name(record) if record is not None else name, limit=120),
        job=None if record is None else _job_view(record),
        outcome=None if event is None else _outcome(state, visitor, event),
        silences=[] if event is None or not visitor.is_operator else silences_of(state.outbox, event),
        entities=found.entities,
        baseline=found.baseline,
        events=[_event_view(state, each, person, explainer) for each in reversed(events)],
        has_more=len(found.events) > len(events),
        people=people,
        person=person,
        decision=None if decision is None else decision_view(state, visitor, decision),
        reviewed=None if event is None or decision is not None else _reviewed(state, visitor, event.entity),
        rules=[*map(rule_view, rules_of_job(state.outbox, name))] if visitor.is_operator else [],
        silence=literal(found.entities[0] if found.entities else name),
        error=error,
        target=target,
    )


def _latest_event(job: JobRecord) -> Event | None:
    """The latest event of a job; None: it is of another version."""
    kind = find_kind(job.kind)
    if kind is None:
        return None
    return Event(kind, job.entity, at=job.at, payload=job.payload, emitted="layout" not in job.payload)


def _outcome(state: ServerState, visitor: Visitor, event: Event) -> Mapping[str, Any]:
    """What the latest event says about how the job ended or was decided, as its mail to the visitor would."""
    spec = event.kind.spec
    if not (spec.is_final or spec.status_after is Status.REJECTED):
        return {}
    audience = Audience.OWNER if visitor.is_operator else Audience.SUBMITTER
    item = Item("", event, audience, spec.status_after or Status.WAITING)
    return template_context(item, Links(), Reader(visitor.user, zone_of(state, visitor)))


def _reviewed(state: ServerState, visitor: Visitor, entity: str) -> Mapping[str, Any] | None:
    """The variables about the files of a job that is decided; None: they were not recorded, or are for the owner."""
    item = reviewed_item(state.outbox, entity) if visitor.is_operator else None
    return None if item is None else item_variables(state, visitor, item, "new_job")


def _restricted_to(visitor: Visitor) -> str:
    return "" if visitor.is_operator else visitor.user


def _job_view(job: JobRecord) -> Mapping[str, Any]:
    payload = job.payload
    return {
        "entity": job.entity,
        "name": escape(job_name(job) or job.entity, limit=120),
        "submitter": escape(str(payload.get("submitter") or payload.get("claimed") or payload.get("user") or "")),
        "owner": escape(str(payload.get("owner") or "")),
        "label": _label(job.kind),
        "tone": tone_of(job.kind),
        "at": job.noticed_at,
    }


def _event_view(
    state: ServerState, explained: EventExplanation, person: str, explainer: AbsenceExplainer | None
) -> Mapping[str, Any]:
    shown = [item for item in explained.notifications if not person or item.recipient.lower() == person]
    absence = None
    event = state.outbox.history.event(explained.event.key) if explainer is not None and not shown else None
    if explainer is not None and event is not None:
        absence = explainer.explain(event, person)
    return {
        "kind": explained.event.kind,
        "label": _label(explained.event.kind),
        "tone": tone_of(explained.event.kind),
        "at": explained.event.noticed_at,
        "claimed_at": explained.event.at,
        "notifications": [*map(notification_view, shown)],
        "absence": absence,
    }


def notification_view(record: NotificationRecord) -> Mapping[str, Any]:
    """The variables about one notification."""
    return {
        "id": record.id,
        "state": record.state,
        "kind": _label(record.kind),
        "entity": record.entity,
        "recipient": escape(record.recipient),
        "audience": record.audience,
        "transport": escape(record.transport),
        "route": escape(record.route),
        "reason": escape(record.reason),
        "created_at": record.created_at,
        "not_before": record.not_before,
        "attempts": record.attempts,
        "tried_at": record.tried_at,
        "acknowledged_at": record.acknowledged_at,
        "may_have_arrived": record.may_have_arrived,
        "is_stored": record.state == NotificationState.SENT and not record.attempts,  # in an inbox
        "is_about_job": (kind := find_kind(record.kind)) is not None and kind.is_about_job,
    }


def _label(kind: str) -> str:
    return escape(kind.replace("_", " ").capitalize())


def tone_of(kind: str) -> str:
    """The colour of a kind."""
    found = find_kind(kind)
    if found is not None and found.spec.status_after is Status.WAITING:
        return "waiting"
    return _TONES.get(
        kind.rpartition("_")[2], "warning" if found is not None and found.spec.severity != "low" else "waiting"
    )
