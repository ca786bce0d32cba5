"""Who uses the page, and whether a request comes from the page itself."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from syftnotify.core.identifiers import LOOPBACK
from syftnotify.core.tokens import Role
from syftnotify.services.sessions import Session, csrf_token, find_session, role_of
from syftnotify.web.problems import ProblemError
from syftnotify.web.state import ServerState, State

PREFIX = "/ui"
SIGN_IN = f"{PREFIX}/sign-in"
# Browsers accept cookies of these names only with `Secure`, for this host alone, and for all of its paths.
SESSION_COOKIE = "__Host-session"
BROWSER_COOKIE = "__Host-sign-in"
_MAX_FIELDS = 1000
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_PEER = "syftnotify.peer"  # in the scope of a request: the address from which it came, which no header changes


class SignInNeededError(ProblemError):
    """The visitor is not signed in."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, "sign in first")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who is signed in, and the secret of the forms of that session."""

    session: Session
    csrf: str

    @property
    def user(self) -> str:
        return self.session.user

    @property
    def is_operator(self) -> bool:
        return self.session.role is Role.OPERATOR


class ProxyAddresses:
    """ASGI middleware that takes the client's address and scheme from the headers of a proxy on this machine."""

    def __init__(self, app: ASGIApp, *, is_behind_proxy: bool) -> None:
        trusted = list(LOOPBACK)
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=trusted) if is_behind_proxy else app  # type: ignore[arg-type] # its types are older

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = scope.get("client")
            scope = {**scope, _PEER: client[0] if client else ""}
        await self._app(scope, receive, send)  # type: ignore[arg-type] # as above


def check_host(request: Request, state: State) -> None:
    """Refuse a name that is not this server's: a page of another site may have made it an address of this machine.

    An address cannot be such a name.

    Raises:
        ProblemError: the header `Host` has another name.
    """
    found = _HOST.fullmatch(request.headers.get("host", ""))
    host = found["name"].strip("[]").lower() if found is not None else ""
    if not (host in {"localhost", *state.page_hosts} or _is_address(host)):
        raise ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST, "this name is not that of the page; set `serve.url` in config.yaml to it"
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def visitor_of(request: Request, state: State) -> Visitor:
    """The visitor who makes a request.

    Raises:
        SignInNeededError: nobody is signed in.
        ProblemError: there were too many requests, or a proxy names a person who is not known here.
    """
    session = _named_by_proxy(request, state) or find_session(
        state.settings, state.outbox, request.cookies.get(SESSION_COOKIE, "")
    )
    if session is None:
        raise SignInNeededError
    state.limits.count_request(session.id)
    return Visitor(session, csrf_token(state.outbox, session))


def _named_by_proxy(request: Request, state: ServerState) -> Session | None:
    """The person that a proxy names; None: it names nobody, or none may."""
    serve = state.settings.config.serve
    if serve is None or serve.auth_header is None or request.scope.get(_PEER) not in LOOPBACK:
        return None
    user = request.headers.get(serve.auth_header, "").strip().lower()
    if not user:
        return None
    role = role_of(state.settings, state.outbox, user)
    if role is None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "there are no notifications for you here")
    return Session(user, role, f"header {user}", is_stored=False)


def operator_of(visitor: Annotated[Visitor, Depends(visitor_of)]) -> Visitor:
    """The visitor, if that is an operator. Raises: ProblemError, it is not."""
    if not visitor.is_operator:
        raise ProblemError(HTTPStatus.FORBIDDEN, "this page is for operators")
    return visitor


class Form:
    """The fields of a submitted form."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str) -> str:
        """The last value of a field without blanks around it; empty if there is none."""
        return next((value.strip() for field, value in reversed(self._fields) if field == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a field that are not empty."""
        return [value.strip() for field, value in self._fields if field == name and value.strip()]

    def has(self, name: str) -> bool:
        """Whether a checkbox is checked."""
        return any(field == name for field, _ in self._fields)


async def form_of(request: Request) -> Form:
    """The form of a request.

    Raises:
        ProblemError: it comes from another site, or is no form.
    """
    check_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a form")
    try:
        body = (await request.body()).decode("utf-8")
        fields = parse_qsl(body, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the form is not valid") from None
    return Form(fields)


def check_origin(request: Request) -> None:
    """Refuse a form of another site. Browsers say where a form comes from; a page cannot change these headers.

    Raises:
        ProblemError: it comes from another site, or the browser does not say.
    """
    site = request.headers.get("sec-fetch-site")
    # `Origin` is for older browsers; with `Referrer-Policy: no-referrer` they send `null` with a form.
    is_own = site == "same-origin" if site is not None else request.headers.get("origin") in _origins(request)
    if not is_own:
        raise ProblemError(HTTPStatus.FORBIDDEN, "this form was not sent by the page itself")


def _origins(request: Request) -> set[str]:
    state: ServerState = request.app.state.server
    parts = urlsplit(state.page_url)
    return {f"{parts.scheme}://{parts.netloc}", f"{request.url.scheme}://{request.headers.get('host', '')}"}


def _checked_form(visitor: Annotated[Visitor, Depends(visitor_of)], form: Annotated[Form, Depends(form_of)]) -> Form:
    if not hmac.compare_digest(form.get("csrf").encode(), visitor.csrf.encode()):
        raise ProblemError(HTTPStatus.FORBIDDEN, "the form is out of date; go back, load the page again, and repeat it")
    return form


def set_cookie(response: Response, name: str, value: str, seconds: float) -> None:
    """Set a cookie that scripts cannot read and that other sites cannot send with a form."""
    response.set_cookie(name, value, max_age=int(seconds), path="/", secure=True, httponly=True, samesite="lax")


def delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


VisitorParameter = Annotated[Visitor, Depends(visitor_of)]
OperatorParameter = Annotated[Visitor, Depends(operator_of)]
CheckedForm = Annotated[Form, Depends(_checked_form)]
# For operations that need no more of these than that they succeed.
FORM_OF_VISITOR = (Depends(_checked_form),)
FORM_OF_OPERATOR = (Depends(operator_of), Depends(_checked_form))
OpenForm = Annotated[Form, Depends(form_of)]  # of a visitor who is not signed in
