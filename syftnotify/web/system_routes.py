"""Health of the server and of the worker, for probes."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from syftnotify.web.access import DENIALS, Operator
from syftnotify.web.metrics import MEDIA_TYPE, metrics_text
from syftnotify.web.problems import ProblemError, responses
from syftnotify.web.state import State

router = APIRouter(tags=["system"])


class Health(BaseModel):
    """That something works."""

    status: str = Field(examples=["ok"])


@router.get("/healthz", responses=responses())
def get_health() -> Health:
    """Whether this process answers."""
    return Health(status="ok")


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        **responses(*DENIALS),
        200: {"description": "the text format of Prometheus", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
    },
)
def get_metrics(_: Operator, state: State) -> Response:
    """Metrics of the worker, its queues and its deliveries."""
    return Response(metrics_text(state), headers={"Content-Type": MEDIA_TYPE})


@router.get("/readyz", responses=responses())
def get_readiness(state: State) -> Health:
    """Whether requests can be served: the database can be read."""
    if state.is_stopping():
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping")
    state.outbox.inbox.position()
    return Health(status="ok")
