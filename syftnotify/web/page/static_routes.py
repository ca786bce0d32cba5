"""The files of the page, and its first address."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from syftnotify.web.page.access import PREFIX
from syftnotify.web.page.rendering import static_response

router = APIRouter(include_in_schema=False)


@router.get("/")
@router.get(PREFIX)
def show_start() -> Response:
    """The address without a path leads to the page."""
    return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)


@router.get(f"{PREFIX}/static/{{name}}")
def get_file(name: str) -> Response:
    """A script or style of the page."""
    return static_response(name)
