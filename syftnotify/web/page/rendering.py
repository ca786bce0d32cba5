"""Rendering of the page: templates, its headers, and what each of them needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import tzinfo
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from syftnotify.core.identifiers import url_id
from syftnotify.core.text import age_text, escape, iso, short_name
from syftnotify.rendering.context import local_time
from syftnotify.rendering.filters import FILTERS, format_moment
from syftnotify.rendering.templates import cached_renderer
from syftnotify.web.page.access import PREFIX, Visitor, check_host
from syftnotify.web.problems import ProblemError
from syftnotify.web.state import ServerState
from syftnotify.web.stream import MAX_COUNT

_FOLDER = Path(__file__).resolve().parent
STATIC = _FOLDER / "static"
_STATIC_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
# Nothing but the own files: no inline script or style, no other site, no frame.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page_router() -> APIRouter:
    """A router for addresses of the page. They are not part of the API's description."""
    return APIRouter(prefix=PREFIX, include_in_schema=False, dependencies=[Depends(check_host)])


def render(
    request: Request,
    template: str,
    visitor: Visitor | None = None,
    *,
    status: int = HTTPStatus.OK,
    **variables: Any,
) -> HTMLResponse:
    """The page of a template. `visitor` is None where nobody is signed in."""
    state: ServerState = request.app.state.server
    context = {
        "visitor": visitor,
        "csrf": visitor.csrf if visitor is not None else "",
        "path": request.url.path,
        "zone": zone_of(state, visitor),
        "badges": _badges(state, visitor) if visitor is not None else {},
        "done": request.query_params.get("done", ""),
        "done_count": request.query_params.get("count", ""),
        **variables,
    }
    text = _environment().get_template(template).render(context)
    return HTMLResponse(text, status, {"Content-Security-Policy": CONTENT_POLICY})


def fragment(template: str, macro: str, *arguments: Any) -> str:
    """What a macro of a template returns."""
    module = _environment().get_template(template).module
    return str(getattr(module, macro)(*arguments))


def go_to(path: str, fragment: str = "", **parameters: str) -> Response:
    """Redirect to an address of the page after a form; `fragment` is the part that is shown first."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return RedirectResponse(f"{PREFIX}{path}{query}{fragment and f'#{fragment}'}", HTTPStatus.SEE_OTHER)


def zone_of(state: ServerState, visitor: Visitor | None) -> tzinfo | None:
    """The timezone of the visitor: as in mails; None: this machine's."""
    config = state.settings.config
    zones = {address.lower(): zone for address, zone in config.timezones.items()}
    user = visitor.user if visitor is not None else ""
    return zones.get(user) or zones.get(config.do_email.lower())


def _badges(state: ServerState, visitor: Visitor) -> dict[str, int]:
    """The numbers in the navigation."""
    found = {"inbox": state.outbox.inbox.count_unread(visitor.user, MAX_COUNT)}
    if visitor.is_operator:
        counts = state.outbox.history.counts(holding=state.settings.holding)
        found |= {"waiting": state.outbox.decisions.count(), "worklist": counts.unacknowledged + counts.held}
    return found


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        **FILTERS,
        "moment": _moment,
        "age": age_text,
        "plain": lambda value: escape(str(value)),
        "filled": lambda values: {name: value for name, value in values.items() if value},
        "short": short_name,
        "job_path": lambda entity: f"{PREFIX}/jobs/{url_id(str(entity))}",
        "count": lambda value: f"{MAX_COUNT - 1}+" if value >= MAX_COUNT else str(value),
    }
    environment.filters |= filters
    environment.globals |= {
        "phrases": cached_renderer(None).phrases,
        "static": static_path,
        "ui": PREFIX,
    }
    return environment


def _moment(value: Any, zone: tzinfo | None = None) -> Markup | str:
    """A time in a zone, None: this machine's, with the exact one for programs; other text escaped."""
    if isinstance(value, (int, float)):
        shown = format_moment(local_time(float(value), zone))
        return Markup('<time datetime="{}">{}</time>').format(iso(float(value)), shown)
    return format_moment(value if not isinstance(value, str) else local_time(value, zone))


@cache
def _static_files() -> Mapping[str, tuple[bytes, str]]:
    """By name, the content of each file and its digest."""
    files = (path for path in STATIC.iterdir() if path.suffix in _STATIC_TYPES)
    contents = {path.name: path.read_bytes() for path in files}
    return {name: (content, hashlib.sha256(content).hexdigest()[:16]) for name, content in contents.items()}


def static_path(name: str) -> str:
    """The address of a file of the page, which changes with its content."""
    return f"{PREFIX}/static/{name}?{_static_files()[name][1]}"


def static_response(name: str) -> Response:
    """A file of the page. Raises: ProblemError, there is none."""
    found = _static_files().get(name)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found[0], media_type=_STATIC_TYPES[Path(name).suffix], headers=headers)
