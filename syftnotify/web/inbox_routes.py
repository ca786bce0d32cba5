"""`/v1/notifications`: the inbox of the person whose token makes the request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from syftnotify.core.inbox import PAGE_SIZE, InboxFilter
from syftnotify.services.inbox import find_entry, inbox_page, mark_read, parse_inbox_kind
from syftnotify.web.access import DENIALS, Reader, StreamReader
from syftnotify.web.problems import NEXT_PAGE, responses
from syftnotify.web.records import MarkResult, NotificationCount, NotificationPage, NotificationRecord
from syftnotify.web.requests import KindFilter, MarkRequest, Since
from syftnotify.web.state import State
from syftnotify.web.stream import EventStream

router = APIRouter(prefix="/v1/notifications", tags=["inbox"])


class PageQuery(BaseModel):
    """Which notifications to list."""

    model_config = ConfigDict(extra="forbid")

    cursor: str = Field("", max_length=500, description="the `cursor` of the page before")
    limit: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE, description="notifications on the page")
    unread: bool = Field(False, description="only unread ones")
    kind: KindFilter = Field("", description="only this kind")
    entity: str = Field("", max_length=1000, description="only about this entity")
    workflow: str = Field("", max_length=1000, description="only about this workflow, by id or name")
    since: Since | None = Field(None, description="only those created since then")


@router.get("", responses={**responses(*DENIALS), **NEXT_PAGE})
def list_notifications(
    token: Reader, state: State, request: Request, response: Response, query: Annotated[PageQuery, Query()]
) -> NotificationPage:
    """The newest notifications first. `Link` has the address of the next page."""
    conditions = InboxFilter(
        unread=query.unread,
        kind=parse_inbox_kind(query.kind) if query.kind else "",
        entity=query.entity,
        workflow=query.workflow,
        since=query.since.timestamp() if query.since else None,
    )
    page = inbox_page(state.outbox, token.user, conditions, cursor=query.cursor, limit=query.limit)
    if page.cursor is not None:
        parameters = {**dict(request.query_params), "cursor": page.cursor}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(parameters)}>; rel="next"'
    return NotificationPage(notifications=[*map(NotificationRecord.of, page.entries)], cursor=page.cursor)


@router.get("/count", responses=responses(*DENIALS))
def count_notifications(token: Reader, state: State) -> NotificationCount:
    """How many there are, and how many are unread."""
    total, unread = state.outbox.inbox.counts(token.user)
    return NotificationCount(total=total, unread=unread)


@router.get("/stream", status_code=HTTPStatus.OK, responses=responses(*DENIALS), response_class=EventStream)
def stream_notifications(
    token: StreamReader,
    state: State,
    last_event_id: Annotated[str, Header(max_length=100, description="id of the last notification received")] = "",
) -> EventStream:
    """New notifications as server-sent events, each with the keys `id`, `kind`, `payload` and `created_at`."""
    return EventStream(state.hub, token.user, token.id, last_event_id)


@router.get("/{notification_id:uuid}", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND))
def get_notification(token: Reader, state: State, notification_id: UUID) -> NotificationRecord:
    """One notification."""
    return NotificationRecord.of(find_entry(state.outbox, token.user, str(notification_id)))


@router.patch("/read", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND, has_body=True))
@router.put("/read", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND, has_body=True))
def mark_notifications(token: Reader, state: State, body: MarkRequest) -> MarkResult:
    """Mark 1 to 100 notifications as read: all of them, or none if one belongs to another person."""
    return MarkResult(marked=mark_read(state.outbox, token.user, [str(each) for each in body.ids]))
