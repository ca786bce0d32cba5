"""`/v1/deliveries`: notifications of all persons with their attempts, for operators."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from syftnotify.core.kinds import parse_kind
from syftnotify.core.models import NotificationState
from syftnotify.services.dead_letters import ResendSelection, resend
from syftnotify.services.deliveries import delivery_page, find_delivery, worklist_page
from syftnotify.services.history import HistoryFilter
from syftnotify.web.access import DENIALS, Operator
from syftnotify.web.problems import responses
from syftnotify.web.records import Attempt, Delivery, DeliveryDetail, DeliveryList, ResendAnswer, Worklist
from syftnotify.web.requests import PAGE_LIMIT, CursorQuery, KindFilter, LimitQuery, ResendRequest, Since
from syftnotify.web.state import State

router = APIRouter(prefix="/v1", tags=["deliveries"])

DeliveryId = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$", description="id of the delivery")]


class DeliveryQuery(BaseModel):
    """Which deliveries to list."""

    model_config = ConfigDict(extra="forbid")

    cursor: str = Field("", max_length=500, description="the `cursor` of the page before")
    limit: int = Field(PAGE_LIMIT, ge=1, le=PAGE_LIMIT, description="deliveries on the page")
    state: NotificationState | None = Field(None, description="only those in this state")
    kind: KindFilter = Field("", description="only of this kind")
    about: str = Field("", max_length=1000, description="only about this entity, or jobs of this name")
    recipient: str = Field("", max_length=254, description="only to this recipient")
    transport: str = Field("", max_length=100, description="only through this transport")
    since: Since | None = Field(None, description="only those detected since then")


@router.get("/deliveries", responses=responses(*DENIALS))
def list_deliveries(_: Operator, state: State, query: Annotated[DeliveryQuery, Query()]) -> DeliveryList:
    """The newest deliveries first."""
    conditions = HistoryFilter(
        states=(query.state,) if query.state else (),
        kinds=(parse_kind(query.kind),) if query.kind else (),
        about=query.about,
        recipient=query.recipient,
        transport=query.transport,
        since=query.since.timestamp() if query.since else None,
        limit=query.limit,
    )
    page = delivery_page(state.outbox, conditions, cursor=query.cursor)
    return DeliveryList(deliveries=[*map(Delivery.of, page.records)], cursor=page.cursor)


@router.get("/deliveries/{delivery_id}", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND))
def get_delivery(_: Operator, state: State, delivery_id: DeliveryId) -> DeliveryDetail:
    """One delivery with its attempts."""
    record, attempts = find_delivery(state.outbox, delivery_id)
    return DeliveryDetail(delivery=Delivery.of(record), attempts=[*map(Attempt.of, attempts)])


@router.get("/worklist", responses=responses(*DENIALS))
def list_worklist(
    _: Operator,
    state: State,
    cursor: CursorQuery = "",
    limit: LimitQuery = PAGE_LIMIT,
) -> Worklist:
    """Dead letters, and deliveries of unknown outcome that are not sent again by themselves, oldest first."""
    page = worklist_page(state.home, state.outbox, cursor=cursor, limit=limit)
    return Worklist(deliveries=[*map(Delivery.of, page.records)], cursor=page.cursor, warning=page.warning)


@router.post(
    "/worklist/resend", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, has_body=True)
)
def resend_deliveries(_: Operator, state: State, body: ResendRequest) -> ResendAnswer:
    """Send deliveries of the worklist again: all of them, or none if one is not on it."""
    result = resend(state.home, state.outbox, ResendSelection(ids=tuple(body.ids)))
    return ResendAnswer(queued=result.count)
