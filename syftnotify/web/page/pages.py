"""All parts of the page, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

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
from syftnotify.web.page.access import PREFIX, SIGN_IN
from syftnotify.web.page.rendering import render

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


def answer_problem(request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response | None:
    """The answer to a request of the page that failed; None: it is not one of the page."""
    path = request.url.path
    if not path.startswith(f"{PREFIX}/"):
        return None
    if status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': path + query})}", HTTPStatus.SEE_OTHER)
    title = HTTPStatus(status).phrase
    text = "There is no such page." if status == HTTPStatus.NOT_FOUND and "openapi" in detail else detail
    response = render(request, "error.html", status=status, title=title, detail=text)
    response.headers.update({name: value for name, value in headers.items() if name != "WWW-Authenticate"})
    return response
