"""Transports and routes of the configuration, read-only, with a test of each transport."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import yaml
from fastapi import Request
from fastapi.responses import Response

from syftnotify.core.errors import ConfigError
from syftnotify.core.models import INBOX, NotificationState
from syftnotify.core.routing import transports_of
from syftnotify.core.text import escape
from syftnotify.services.configuration import place_of_transport, public_settings, transport_state
from syftnotify.services.explanations import configured_context
from syftnotify.services.inbox import store_test
from syftnotify.services.routes import configured_routes
from syftnotify.services.test_send import send_tests
from syftnotify.web.page.access import CheckedForm, OperatorParameter, Visitor
from syftnotify.web.page.rendering import page_router, render
from syftnotify.web.problems import ProblemError, error_detail
from syftnotify.web.state import ServerState, State

router = page_router()

_RATE_SECONDS = 3600.0
_MAX_DEAD = 100  # dead letters of a transport that are counted


@router.get("/transports")
def list_transports(request: Request, state: State, visitor: OperatorParameter) -> Response:
    """The transports with their settings, their routes and their state."""
    return _page(request, state, visitor)


@router.post("/transports/{name}/test")
def test(request: Request, state: State, visitor: OperatorParameter, name: str, form: CheckedForm) -> Response:
    """Send a test message through a transport."""
    config, to = state.settings.config, form.get("to")
    if name != INBOX and name not in config.transports:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such transport")
    try:
        if name == INBOX and name not in config.transports:
            detail, is_sent = f"A test is stored in the inbox of {store_test(state.outbox, config.do_email, to)}.", True
        else:
            (result,) = send_tests(state.settings, name, to)
            detail = str(result.error) if result.error else f"Sent through {name}{result.destination}."
            is_sent = result.error is None
    except ConfigError as error:
        detail, is_sent = error_detail(error), False
    tested = {"name": name, "detail": escape(detail, limit=500), "is_sent": is_sent, "to": to}
    return _page(request, state, visitor, tested)


def _page(request: Request, state: ServerState, visitor: Visitor, tested: Mapping[str, Any] | None = None) -> Response:
    config, reported = state.settings.config, transport_state(state.home)
    recent = Counter(message.transport for message in state.outbox.history.sent_since(time.time() - _RATE_SECONDS))
    routes, context = configured_routes(config), configured_context(state.settings)
    through = {route.name: transports_of(route, context) for route in routes}
    shown = []
    for name, section in config.transports.items():
        dead = state.outbox.history.notifications(
            states=[NotificationState.DEAD.value], transport=name, limit=_MAX_DEAD
        )
        settings = yaml.safe_dump(public_settings(section), sort_keys=False, allow_unicode=True, width=60)
        shown.append(
            {
                "name": name,
                "type": section.type,
                "settings": settings,
                "routes": [route.name for route in routes if name in through[route.name]],
                "dead": len(dead),
                "last_error": escape(dead[0].reason, limit=200) if dead else "",
                "state": reported.get(name, {}),
                "last_sent_at": state.outbox.history.last_sent(name),
                "recent": recent[name],
                "rate": section.rate,
                "line": place_of_transport(state.home, name),
                "can_choose": section.address_type.value != "endpoint",
            }
        )
    return render(
        request,
        "transports.html",
        visitor,
        transports=shown,
        has_inbox=config.serve is not None and INBOX not in config.transports,
        inbox=INBOX,
        config_path=str(state.home.config),
        routes=[
            {
                "name": route.name,
                "events": "every event"
                if route.kinds is None
                else ", ".join(sorted(kind.value for kind in route.kinds)),
                "to": ", ".join(route.to) or "default recipient",
                "through": ", ".join(sorted(through[route.name])),
            }
            for route in routes
        ],
        tested=tested,
        max_dead=_MAX_DEAD,
    )
