"""`/v1/transports` and `/v1/routes`: the configuration, without its secrets, for operators."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path

from syftnotify.core.inbox import kind_name
from syftnotify.core.models import INBOX
from syftnotify.services.configuration import public_settings, transport_state
from syftnotify.services.inbox import store_test
from syftnotify.services.routes import configured_routes
from syftnotify.services.test_send import send_tests
from syftnotify.web.access import DENIALS, Operator
from syftnotify.web.problems import ProblemError, responses
from syftnotify.web.records import RouteRecord, TransportRecord, TransportTestResult, time_text
from syftnotify.web.requests import TransportTestRequest
from syftnotify.web.state import State

router = APIRouter(prefix="/v1", tags=["configuration"])

TransportName = Annotated[str, Path(min_length=1, max_length=100, description="name of the transport")]


@router.get("/transports", responses=responses(*DENIALS))
def list_transports(_: Operator, state: State) -> list[TransportRecord]:
    """The transports, their settings without secrets, and what the worker reports about them."""
    reported = transport_state(state.home)
    found = []
    for name, section in state.settings.config.transports.items():
        sent_at = state.outbox.history.last_sent(name)
        found.append(
            TransportRecord(
                name=name,
                type=section.type,
                settings=public_settings(section),
                state=dict(reported.get(name, {})),
                last_sent_at=None if sent_at is None else time_text(sent_at),
            )
        )
    return found


@router.post("/transports/{name}/test", responses=responses(*DENIALS, HTTPStatus.NOT_FOUND, has_body=True))
def send_test_message(
    _: Operator, state: State, name: TransportName, body: TransportTestRequest
) -> TransportTestResult:
    """Send a test message through a transport."""
    if name == INBOX and name not in state.settings.config.transports:
        user = store_test(state.outbox, state.settings.config.do_email, body.to)
        return TransportTestResult(sent=True, detail=f"stored in the inbox of {user}")
    if name not in state.settings.config.transports:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such transport")
    (result,) = send_tests(state.settings, name, body.to)
    detail = str(result.error) if result.error else f"sent through {name}{result.destination}"
    return TransportTestResult(sent=result.error is None, detail=detail)


@router.get("/routes", responses=responses(*DENIALS))
def list_routes(_: Operator, state: State) -> list[RouteRecord]:
    """The routes in the order of evaluation, with the built-in ones that apply."""
    return [
        RouteRecord(
            name=route.name,
            events=["*"] if route.kinds is None else sorted(map(kind_name, route.kinds)),
            to=list(route.to),
            transport=route.transport,
            continues=route.continue_,
        )
        for route in configured_routes(state.settings.config)
    ]
