"""Deliveries with their attempts, and the worklist of those that need a decision."""

from __future__ import annotations

from http import HTTPStatus
from itertools import groupby
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.responses import Response

from syftnotify.core.errors import ConfigError, Failure, UnknownKindError
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import INBOX, NotificationState
from syftnotify.core.text import escape
from syftnotify.services.dead_letters import ResendSelection, acknowledge, is_dead, resend
from syftnotify.services.deliveries import DeliveryPage, delivery_page, find_delivery, worklist_page
from syftnotify.services.history import parse_filter
from syftnotify.web.page.access import FORM_OF_OPERATOR, CheckedForm, OperatorParameter
from syftnotify.web.page.job_routes import notification_view
from syftnotify.web.page.rendering import go_to, page_router, render
from syftnotify.web.state import State

router = page_router()

_PAGE_SIZE = 50
_WORKLIST_SIZE = 200
_MAX_TEXT = 1000
DeliveryId = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$")]
Text = Annotated[str, Query(max_length=_MAX_TEXT)]


@router.get("/deliveries")
def list_deliveries(
    request: Request,
    state: State,
    visitor: OperatorParameter,
    cursor: str = "",
    about: Text = "",
    to: Text = "",
    outcome: Text = "",
    kind: Text = "",
    transport: Text = "",
) -> Response:
    """The newest deliveries first."""
    about, to, outcome, kind, transport = (text.strip() for text in (about, to, outcome, kind, transport))
    error = ""
    try:
        conditions = parse_filter(
            states=[outcome] if outcome else [],
            kinds=[kind] if kind else [],
            about=about,
            recipient=to,
            transport=transport,
            limit=_PAGE_SIZE,
        )
        page = delivery_page(state.outbox, conditions, cursor=cursor)
    except (ConfigError, UnknownKindError) as problem:
        page, error = DeliveryPage([], None), str(problem)
    filters = {"about": about, "to": to, "outcome": outcome, "kind": kind, "transport": transport}
    return render(
        request,
        "deliveries.html",
        visitor,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        error=error,
        records=[*map(notification_view, page.records)],
        cursor=page.cursor,
        is_first=not cursor,
        filters=filters,
        outcomes=[each.value for each in NotificationState],
        transports=[INBOX, *state.settings.config.transports],
        kinds=[each.value for each in EventKind],
    )


@router.get("/deliveries/{delivery_id}")
def show_delivery(request: Request, state: State, visitor: OperatorParameter, delivery_id: DeliveryId) -> Response:
    """One delivery with its attempts."""
    record, attempts = find_delivery(state.outbox, delivery_id)
    shown = [
        {
            "started_at": each.started_at,
            "ended_at": each.ended_at,
            "outcome": Failure(each.outcome).label if each.outcome in set(Failure) else each.outcome,
            "error": escape(each.error),
        }
        for each in attempts
    ]
    return render(request, "delivery.html", visitor, record=notification_view(record), attempts=shown)


@router.get("/worklist")
def show_worklist(request: Request, state: State, visitor: OperatorParameter, cursor: str = "") -> Response:
    """Dead letters, and deliveries of unknown outcome that are not sent again by themselves, by recipient."""
    page = worklist_page(state.home, state.outbox, cursor=cursor, limit=_WORKLIST_SIZE)
    ordered = sorted(page.records, key=lambda record: record.recipient.lower())
    groups = [
        {
            "recipient": escape(recipient),
            "records": [*map(notification_view, records)],
            "has_unacknowledged": any(is_dead(each) and each.acknowledged_at is None for each in records),
        }
        for recipient, found in groupby(ordered, key=lambda record: record.recipient.lower())
        for records in [list(found)]
    ]
    return render(
        request, "worklist.html", visitor, groups=groups, cursor=page.cursor, is_first=not cursor, warning=page.warning
    )


@router.post("/worklist", dependencies=FORM_OF_OPERATOR)
def change_worklist(state: State, form: CheckedForm) -> Response:
    """Send deliveries of the worklist again, or acknowledge dead letters."""
    ids = form.all("id")
    if not ids:
        return go_to("/worklist", done="none-selected")
    if form.get("action") == "acknowledge":
        return go_to("/worklist", done="acknowledged", count=str(acknowledge(state.outbox, ids)))
    count = resend(state.home, state.outbox, ResendSelection(ids=tuple(ids))).count
    return go_to("/worklist", done="resent", count=str(count))
