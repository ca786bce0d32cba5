"""Silences: the list, a form, and what each has suppressed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Request
from fastapi.responses import Response

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.kinds import WORKER_KINDS, EventKind, Severity
from syftnotify.core.text import escape
from syftnotify.services.silences import (
    ListedSilence,
    SilenceOptions,
    add_silence,
    expire_silence,
    find_silence,
    list_silences,
    listed_silence,
    silence_conditions,
    suppressed,
    unknown_jobs,
)
from syftnotify.web.page.access import FORM_OF_OPERATOR, CheckedForm, Form, OperatorParameter, Visitor
from syftnotify.web.page.job_routes import notification_view
from syftnotify.web.page.rendering import go_to, page_router, render, zone_of
from syftnotify.web.problems import error_detail
from syftnotify.web.state import ServerState, State

router = page_router()

_MAX_SHOWN = 200  # suppressed notifications
_FIELDS = ("job", "submitter", "owner", "tag", "severity", "event", "until", "reason")
_EMPTY = {**dict.fromkeys(_FIELDS, ""), "end": "2h"}
_ENDS = ("1h", "2h", "8h", "1d", "7d", "30d")
SilenceId = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$")]


@router.get("/silences")
def list_all(
    request: Request, state: State, visitor: OperatorParameter, job: str = "", expired: bool = False
) -> Response:
    """The silences, and the form for a new one; `job` is for a link from the page of a job."""
    return _page(request, state, visitor, {**_EMPTY, "job": job}, include_expired=expired)


@router.post("/silences")
def add(request: Request, state: State, visitor: OperatorParameter, form: CheckedForm) -> Response:
    """Add a silence."""
    end = form.get("end")
    try:
        if end == "until" and not form.get("until"):
            raise ConfigError("enter a time under “Until”")
        if form.get("until") and end == "change":
            raise ConfigError("choose either a time or “until the state of the job changes”")
        end = "until" if form.get("until") else end  # a time was entered; the choice has a default
        silence = add_silence(
            state.home,
            state.outbox,
            SilenceOptions(
                author=visitor.user,
                reason=form.get("reason"),
                job=_lines(form, "job"),
                submitter=_lines(form, "submitter"),
                owner=_lines(form, "owner"),
                tag=_lines(form, "tag"),
                severity=form.all("severity"),
                events=form.all("event"),
                duration=end if end in _ENDS else "",
                until=_until(form, zone_of(state, visitor)) if end == "until" else "",
                until_change=end == "change",
            ),
        )
    except NotifyError as error:
        values = {name: form.get(name) for name in (*_FIELDS, "end")} | {"event": form.all("event")}
        return _page(request, state, visitor, values, error=error_detail(error))
    return go_to(f"/silences/{silence.id}", done="silence-added")


@router.get("/silences/{silence_id}")
def show(request: Request, state: State, visitor: OperatorParameter, silence_id: SilenceId) -> Response:
    """One silence, and what it has suppressed."""
    listed = listed_silence(state.outbox, find_silence(state.outbox, silence_id))
    records = suppressed(state.outbox, listed.silence, limit=_MAX_SHOWN)
    unknown = [escape(name) for name in unknown_jobs(state.outbox, listed.silence)]
    return render(
        request,
        "silence.html",
        visitor,
        silence=_view(listed),
        records=[*map(notification_view, records)],
        unknown_jobs=unknown,
    )


@router.post("/silences/{silence_id}/expire", dependencies=FORM_OF_OPERATOR)
def expire(state: State, silence_id: SilenceId) -> Response:
    """End a silence now."""
    silence = expire_silence(state.outbox, silence_id)
    return go_to(f"/silences/{silence.id}", done="silence-expired")


def _lines(form: Form, name: str) -> list[str]:
    """The patterns of a field, one on each line."""
    return [line.strip() for text in form.all(name) for line in text.splitlines() if line.strip()]


def _until(form: Form, zone: tzinfo | None) -> str:
    """The time of a field as the visitor means it, with its offset; other text unchanged."""
    try:
        moment = datetime.fromisoformat(form.get("until"))
    except ValueError:
        return form.get("until")
    return (moment.replace(tzinfo=zone) if zone is not None and moment.tzinfo is None else moment).isoformat()


def _zone_name(zone: tzinfo | None) -> str:
    """The name of a zone as people know it: `Europe/Berlin`; for this machine's, what its clock calls it."""
    return str(zone) if zone is not None else datetime.now().astimezone().tzname() or "the server's zone"


def _page(
    request: Request,
    state: ServerState,
    visitor: Visitor,
    values: Mapping[str, Any],
    *,
    error: str = "",
    include_expired: bool = False,
) -> Response:
    found = list_silences(state.outbox, include_expired=include_expired)
    return render(
        request,
        "silences.html",
        visitor,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        silences=[*map(_view, reversed(found))],
        values=values,
        error=error,
        include_expired=include_expired,
        ends=_ENDS,
        kinds=[kind.value for kind in EventKind if kind not in WORKER_KINDS],
        zone_name=_zone_name(zone_of(state, visitor)),
        severities=[each.value for each in Severity],
    )


def _view(listed: ListedSilence) -> Mapping[str, Any]:
    silence = listed.silence
    return {
        "id": silence.id,
        "state": listed.state.value,
        "conditions": silence_conditions(silence),
        "author": escape(silence.author),
        "reason": escape(silence.reason),
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at if silence.expired_at is None else silence.expired_at,
        "suppressed": listed.suppressed,
    }
