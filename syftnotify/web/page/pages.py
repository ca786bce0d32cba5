"""All parts of the page, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from syftnotify.core.errors import NotifyError
from syftnotify.web.page import (
    delivery_routes,
    inbox_routes,
    job_routes,
    rule_routes,
    sign_in_routes,
    silence_routes,
    static_routes,
    status_routes,
    transport_routes,
    waiting_routes,
)
from syftnotify.web.page.access import PREFIX, SIGN_IN, Visitor, visitor_of
from syftnotify.web.page.rendering import render
from syftnotify.web.problems import ProblemError
from syftnotify.web.state import state_of

PAGES = tuple(
    module.router
    for module in (
        static_routes,
        sign_in_routes,
        waiting_routes,
        inbox_routes,
        job_routes,
        rule_routes,
        silence_routes,
        delivery_routes,
        transport_routes,
        status_routes,
    )
)


_TITLES: Mapping[int, str] = {
    HTTPStatus.MISDIRECTED_REQUEST: "Unknown address",
    HTTPStatus.METHOD_NOT_ALLOWED: "This does not work",
    HTTPStatus.INTERNAL_SERVER_ERROR: "An error of the server",
}


def answer_problem(request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response | None:
    """The answer to a request of the page that failed; None: it is not one of the page."""
    path = request.url.path
    if not path.startswith(f"{PREFIX}/"):
        return None
    if status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': path + query})}", HTTPStatus.SEE_OTHER)
    if status == HTTPStatus.METHOD_NOT_ALLOWED and request.method == "GET":
        # A browser that restores the answer to a form.
        return RedirectResponse(f"{PREFIX}/{path.split('/')[2]}", HTTPStatus.SEE_OTHER)
    title = _TITLES.get(status, HTTPStatus(status).phrase)
    text = "There is no such page." if status == HTTPStatus.NOT_FOUND and "openapi" in detail else detail
    response = render(request, "error.html", _visitor_or_none(request, status), status=status, title=title, detail=text)
    response.headers.update({name: value for name, value in headers.items() if name != "WWW-Authenticate"})
    return response


def _visitor_or_none(request: Request, status: int) -> Visitor | None:
    """The visitor, for the navigation of the page about an error; None where that may have been the error."""
    if (
        status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.TOO_MANY_REQUESTS}
        or status >= 500
    ):
        return None
    try:
        return visitor_of(request, state_of(request))
    except (ProblemError, NotifyError):
        return None
