"""Waiting for you: all decisions that wait, the oldest first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from syftnotify.core.decisions import PendingDecision
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Item
from syftnotify.rendering.context import Reader, template_context
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import cached_renderer
from syftnotify.services.decisions import decision_item, decision_page
from syftnotify.services.status import WorkerReport
from syftnotify.web.page.access import Visitor, VisitorParameter
from syftnotify.web.page.rendering import go_to, page_router, render, zone_of
from syftnotify.web.state import ServerState, State

router = page_router()

_PAGE_SIZE = 10  # each may have a long diff


@router.get("/")
def show_waiting(request: Request, state: State, visitor: VisitorParameter, cursor: str = "") -> Response:
    """The decisions that wait for the owner; others see their inbox."""
    if not visitor.is_operator:
        return go_to("/inbox")
    page = decision_page(state.outbox, cursor=cursor, limit=_PAGE_SIZE)
    shown = [decision_view(state, visitor, each) for each in page.decisions]
    worker = WorkerReport.read(state.home)
    return render(
        request,
        "waiting.html",
        visitor,
        decisions=shown,
        cursor=page.cursor,
        is_first=not cursor,
        is_running=worker.is_running,
        is_healthy=worker.is_healthy or not worker.is_running,
        scanned_at=worker.scanned_at,
    )


def decision_view(state: ServerState, visitor: Visitor, decision: PendingDecision) -> Mapping[str, Any]:
    """The variables about one decision: those of its mail, and for how long it has waited."""
    item = decision_item(state.outbox, decision)
    is_job = decision.kind is EventKind.JOB_SUBMITTED
    return {
        "entity": decision.entity,
        "is_job": is_job,
        "age": max(0.0, time.time() - decision.since),
        "since": decision.since,
        **item_variables(state, visitor, item, "new_job" if is_job else "new_peer_request"),
    }


def item_variables(state: ServerState, visitor: Visitor, item: Item, template: str) -> dict[str, Any]:
    """The variables of a mail about `item` to the visitor, and two sentences of it: `headline` and `news`."""
    variables = template_context(item, Links(), Reader(visitor.user, zone_of(state, visitor)))
    variables |= {"reply_to": "", "is_own": True}
    render_block = cached_renderer(None).render_block
    sentences = {name: render_block(f"emails/{template}.txt", name, variables) for name in ("headline", "news")}
    return {**variables, **sentences}
