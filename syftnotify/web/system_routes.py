"""Health of the server and of the worker, for probes."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field

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


@router.get("/readyz", responses=responses(HTTPStatus.SERVICE_UNAVAILABLE))
def get_readiness(state: State) -> Health:
    """Whether requests can be served: the database can be read."""
    if state.is_stopping():
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping")
    state.outbox.inbox.position()
    return Health(status="ok")
