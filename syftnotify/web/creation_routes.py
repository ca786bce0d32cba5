"""Notifications and events of other programs: schedulers, scripts, services."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Header

from syftnotify.services.creation import MAX_KEY
from syftnotify.services.emit import submit_cloud_event, submit_event
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.web.access import DENIALS, Creator
from syftnotify.web.problems import responses
from syftnotify.web.records import EventResult, NotificationRecord
from syftnotify.web.requests import AnyEvent, CloudEvent, CreateRequest
from syftnotify.web.state import State

router = APIRouter(prefix="/v1", tags=["creation"])

_FAILURES = responses(*DENIALS, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, has_body=True)
IdempotencyKey = Annotated[
    str,
    Header(
        max_length=MAX_KEY,
        pattern=r"^[\x21-\x7e]*$",
        description="repeats of a request with the same key create nothing; another request with it is answered by 422",
    ),
]


@router.post("/notifications", status_code=HTTPStatus.CREATED, responses=_FAILURES)
def post_notification(
    token: Creator, state: State, body: CreateRequest, idempotency_key: IdempotencyKey = ""
) -> NotificationRecord:
    """Store a notification in the inbox of a person."""
    request = body.model_dump(mode="json")
    with state.idempotency.once(token.id, idempotency_key, request) as occurrence:
        new = NewNotification(body.user_id, body.kind, body.payload, occurrence)
        return NotificationRecord.of(create_notification(state.outbox, new, state.settings))


@router.post("/events", status_code=HTTPStatus.ACCEPTED, responses=_FAILURES)
def post_event(
    token: Creator,
    state: State,
    body: Annotated[AnyEvent, Body()],
    idempotency_key: IdempotencyKey = "",
) -> EventResult:
    """Emit an event, in the native format or as CloudEvents 1.0; the worker notifies by its routes."""
    request = body.model_dump(mode="json")
    with state.idempotency.once(token.id, idempotency_key, request) as occurrence:
        if isinstance(body, CloudEvent):
            return EventResult(key=submit_cloud_event(state.home, body.model_dump()))
        return EventResult(key=submit_event(state.home, body.model_dump(), key=occurrence))
