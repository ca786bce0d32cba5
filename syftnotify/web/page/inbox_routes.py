"""The inbox of the visitor, with new notifications as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.responses import Response

from syftnotify.core.alerts import Alert
from syftnotify.core.errors import UnknownKindError
from syftnotify.core.identifiers import url_id
from syftnotify.core.inbox import MAX_MARKED, InboxEntry, InboxFilter
from syftnotify.core.kinds import Audience, EventKind, Status, find_kind
from syftnotify.core.models import Event, Item
from syftnotify.core.text import escape
from syftnotify.rendering.fields import error_line
from syftnotify.rendering.summary import fill, summary_line
from syftnotify.services.inbox import CREATABLE_KINDS, inbox_page, mark_read, parse_inbox_kind
from syftnotify.web.page.access import CheckedForm, VisitorParameter
from syftnotify.web.page.rendering import fragment, go_to, page_router, render, zone_of
from syftnotify.web.state import State
from syftnotify.web.stream import EventStream

router = page_router()

_TONES = {"high": "failed", "medium": "warning", "low": "ok"}


@dataclass(frozen=True, slots=True)
class PageFormat:
    """The format of live notifications for the page: HTML, and the number of unread ones."""

    zone: tzinfo | None

    def data(self, entry: InboxEntry, unread: int) -> Mapping[str, Any]:
        html = fragment("_inbox_item.html", "item", entry_view(entry), self.zone)
        return {"id": entry.id, "html": html, "unread": unread}


def entry_view(entry: InboxEntry) -> Mapping[str, Any]:
    """The variables about one notification."""
    kind = find_kind(entry.kind)
    view: dict[str, Any] = {
        "id": entry.id,
        "entity": entry.entity,
        "path": _path_of(entry, kind),
        "created_at": entry.created_at,
        "is_read": entry.read_at is not None,
        "tone": "waiting" if kind is None else _TONES[kind.spec.severity.value],
        "kind": entry.kind,
        "title": escape(entry.kind.replace("_", " ").capitalize()),
        "error": "",
    }
    if kind is not None:
        payload = dict(entry.payload)
        payload["name"] = payload.get("name") or payload.get("workflow_name") or ""
        # Events of the tree have a layout; all others come from programs.
        event = Event(kind, entry.entity, payload=payload, emitted="layout" not in payload)
        item = Item(entry.id, event, Audience.OWNER, kind.spec.status_after or Status.WAITING, entry.created_at)
        view |= {"title": _title(item), "error": error_line(item)}
    return view


def _path_of(entry: InboxEntry, kind: EventKind | None) -> str:
    """The part of the page that has more about a notification; empty: none has."""
    if kind is EventKind.SYSTEM_ALERT:
        return "/worklist" if entry.payload.get("alert") == Alert.DEAD_LETTERS else "/status"
    return f"/jobs/{url_id(entry.entity)}" if kind is not None and kind.is_about_job else ""


def _title(item: Item) -> str:
    """The event on one line. What it says stays true: a job does not wait any more when it is decided."""
    if item.event.kind is EventKind.JOB_SUBMITTED:
        return fill("Job {name}{by} was submitted.{unreadable}", item)
    return "Test notification" if item.event.kind is EventKind.TEST else summary_line(item)


@router.get("/inbox")
def show_inbox(
    request: Request,
    state: State,
    visitor: VisitorParameter,
    cursor: str = "",
    unread: bool = False,
    kind: Annotated[str, Query(max_length=60)] = "",
    workflow: Annotated[str, Query(max_length=1000)] = "",
) -> Response:
    """The newest notifications first."""
    error, name = "", kind.strip()
    try:
        name = parse_inbox_kind(name) if name else ""
    except UnknownKindError as problem:
        error = str(problem)
    conditions = InboxFilter(unread=unread, kind=name, workflow=workflow.strip())
    # Before the page is read: the stream begins here, so that nothing is missed in between.
    latest = state.outbox.inbox.latest(visitor.user)
    page = inbox_page(state.outbox, visitor.user, conditions, cursor=cursor)
    return render(
        request,
        "inbox.html",
        visitor,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        error=error,
        kinds=[*CREATABLE_KINDS],
        entries=[entry_view(each) for each in page.entries],
        here=cursor,
        cursor=page.cursor,
        filters={"unread": "true" if unread else "", "kind": kind, "workflow": workflow},
        is_first=not cursor,
        is_live=not (cursor or kind or workflow),
        last_id=latest.id if latest else "",
        max_marked=MAX_MARKED,
    )


@router.post("/inbox/read")
def mark(visitor: VisitorParameter, state: State, form: CheckedForm) -> Response:
    """Mark notifications as read."""
    mark_read(state.outbox, visitor.user, form.all("id"))
    filters = {name: value for name in ("cursor", "unread", "kind", "workflow") if (value := form.get(name))}
    return go_to("/inbox", **filters)


@router.get("/inbox/stream")
def stream(
    state: State,
    visitor: VisitorParameter,
    after: Annotated[str, Query(max_length=100)] = "",
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> EventStream:
    """New notifications as HTML; `after` is the id of the newest one that the page had when it was made."""
    token_id = visitor.session.id if visitor.session.is_stored else ""
    format_ = PageFormat(zone_of(state, visitor))
    # A page that was empty misses everything.
    return EventStream(state.hub, visitor.user, token_id, last_event_id or after, format_, is_complete=True)
