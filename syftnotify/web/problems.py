"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syftnotify.core.errors import ConflictError, NotFoundError, NotifyError, StateError
from syftnotify.core.text import escape
from syftnotify.services.creation import KeyInUseError, KeyReusedError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_STATUSES = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    StateError: HTTPStatus.SERVICE_UNAVAILABLE,
    KeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ConflictError: HTTPStatus.CONFLICT,
    KeyInUseError: HTTPStatus.CONFLICT,
}
_MESSAGES = {"dict_type": "expected a JSON object", "model_attributes_type": "expected a JSON object"}
_DETAILS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "nothing is served at this address; /openapi.json describes the API",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not have this method; the header `Allow` lists its methods",
}
_MAX_ERRORS = 20  # mistakes of a request that are listed


class Problem(BaseModel):
    """An error, as RFC 9457 defines it."""

    type: str = Field("about:blank", description="URI of the type of problem")
    title: str = Field(description="the meaning of the status", examples=["Bad Request"])
    status: int = Field(description="the HTTP status", examples=[400])
    detail: str = Field("", description="what is wrong, and what to do", examples=["expected 1 to 100 ids, got 0"])


class ProblemError(HTTPException):
    """An error of one request."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status.value, detail, dict(headers or {}))


def responses(*statuses: HTTPStatus, has_body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The declaration of problems in OpenAPI.

    Every operation may answer a request that is malformed with 400, one that is too slow or too large with 408 or 413,
    and one that needs the database with 503. `has_body` adds 415.
    """
    body = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE,) if has_body else ()
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status.value: {"description": status.phrase, "content": content, **_HEADERS.get(status, {})}
        for status in sorted({*_ALWAYS, *body, *statuses})
    }


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {"headers": {name: {"description": description, "schema": {"type": "string"}, "example": example}}}


_ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_HEADERS: dict[HTTPStatus, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: _header("WWW-Authenticate", "how to authenticate", 'Bearer realm="syftnotify"'),
    HTTPStatus.TOO_MANY_REQUESTS: _header("Retry-After", "seconds to wait", "60"),
}
NEXT_PAGE: dict[int | str, dict[str, Any]] = {
    HTTPStatus.OK.value: _header(
        "Link", "the next page, if there is one", '</v1/notifications?cursor=gAAA>; rel="next"'
    )
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response for a problem."""
    found = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(found.model_dump(by_alias=True), status, dict(headers or {}), MEDIA_TYPE)


# Answers a request of the page: status, what is wrong, headers. None: it is not a request of the page.
PageAnswer = Callable[[Request, int, str, Mapping[str, str]], Response | None]


def add_handlers(app: FastAPI, page_answer: PageAnswer) -> None:
    """Answer all errors as problems, and those of the page with a page."""

    async def on_error(request: Request, error: Exception) -> Response:
        status, detail, headers = _answer(request, error)
        return page_answer(request, status, detail, headers) or problem(status, detail, headers)

    for kind in (HTTPException, RequestValidationError, NotifyError):
        app.add_exception_handler(kind, on_error)


def _answer(request: Request, error: Exception) -> tuple[int, str, Mapping[str, str]]:
    if isinstance(error, HTTPException):
        return _on_http_error(request, error)
    if isinstance(error, RequestValidationError):
        return *_on_invalid_request(request, error), {}
    assert isinstance(error, NotifyError)
    return *_on_notify_error(error), {}


def _on_http_error(request: Request, error: HTTPException) -> tuple[int, str, Mapping[str, str]]:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_allowed_methods(request)))
    detail = _DETAILS.get(error.status_code, "") if _is_phrase(error) else str(error.detail)
    return error.status_code, detail, headers


def _is_phrase(error: HTTPException) -> bool:
    """Whether the framework raised it, with the name of the status as its text."""
    return bool(error.detail == HTTPStatus(error.status_code).phrase)


def _allowed_methods(request: Request) -> set[str]:
    """The methods of all routes of a path; the framework knows only those of the first one."""
    return {
        method
        for method in _METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }


def _on_invalid_request(request: Request, error: RequestValidationError) -> tuple[int, str]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if error.body is not None and not content_type.endswith(("/json", "+json")):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected the header `Content-Type: application/json`"
    return HTTPStatus.BAD_REQUEST, "; ".join(_mistakes(error))


def _mistakes(error: RequestValidationError) -> Iterator[str]:
    """One text for each mistake, without the value, which may be a secret."""
    for each in error.errors()[:_MAX_ERRORS]:
        place = ".".join(escape(str(part), limit=40) for part in each["loc"])
        yield f"{place}: {_MESSAGES.get(each['type']) or escape(str(each['msg']))}"


def _on_notify_error(error: NotifyError) -> tuple[int, str]:
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
    return status, error_detail(error)


def error_detail(error: NotifyError) -> str:
    """What is wrong and what to do, without paths of this machine and without commands of the terminal."""
    if isinstance(error, StateError):
        return "the database cannot be used"
    is_for_terminal = any(sign in error.hint for sign in ("notify ", "--"))
    text = str(error).removeprefix("--")  # of a command's option, which has the name of a field
    return f"{text}; {error.hint}" if error.hint and not is_for_terminal else text


class ServerErrors:
    """ASGI middleware that answers unexpected errors with 500 and logs them with their traceback."""

    def __init__(self, app: ASGIApp, *, page_answer: PageAnswer) -> None:
        self._app = app
        self._page_answer = page_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_noting(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception:  # the outermost place: the framework would answer with text, and close the connection
            if scope["type"] != "http" or has_started:
                raise
            log.exception("a request failed")
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server; see its log"
            answer = self._page_answer(Request(scope), status, detail, {}) or problem(status, detail)
            await answer(scope, receive, send)
