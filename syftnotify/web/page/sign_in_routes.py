"""Signing in to the page and out of it."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import BackgroundTasks, Request
from fastapi.responses import RedirectResponse, Response

from syftnotify.core.errors import NotifyError
from syftnotify.services.sessions import (
    LINK_SECONDS,
    SESSION_SECONDS,
    LinkMail,
    create_link,
    end_session,
    find_person_token,
    find_session,
    new_secret,
    send_link,
    start_session_by_link,
    start_session_by_token,
)
from syftnotify.web.page.access import (
    BROWSER_COOKIE,
    FORM_OF_VISITOR,
    PREFIX,
    SESSION_COOKIE,
    SIGN_IN,
    OpenForm,
    VisitorParameter,
    delete_cookie,
    set_cookie,
)
from syftnotify.web.page.rendering import page_router, render
from syftnotify.web.state import ServerState, State

log = logging.getLogger(__name__)

router = page_router()

_START = f"{PREFIX}/"
_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - compared with; no address of a link
# Addresses of this page alone: a link may not lead to another site after signing in.
_OWN_ADDRESS = re.compile(rf"{PREFIX}/[A-Za-z0-9/_.~%?=&@+-]*")


def own_address(text: str) -> str:
    """An address of the page; any other text becomes that of the first page."""
    path = text.partition("?")[0]
    is_own = bool(_OWN_ADDRESS.fullmatch(text)) and not path.startswith(SIGN_IN)
    is_own = is_own and not any(part in path for part in ("//", "/."))
    return text if is_own else _START


@router.get("/sign-in")
def show_sign_in(request: Request, state: State, next: str = "") -> Response:  # noqa: A002 - name in the address
    """The form to sign in."""
    if find_session(state.settings, state.outbox, request.cookies.get(SESSION_COOKIE, "")) is not None:
        return RedirectResponse(own_address(next), HTTPStatus.SEE_OTHER)
    return _form(request, state, next=own_address(next))


@router.post("/sign-in")
def sign_in(request: Request, state: State, form: OpenForm) -> Response:
    """Begin a session with a token."""
    target = own_address(form.get("next"))
    token = find_person_token(state.outbox, form.get("token"))
    if token is None:
        state.limits.count_failure(_address(request))
        error = "This token is not valid here. It may have expired, or be one for services."
        return _form(request, state, next=target, error=error, status=HTTPStatus.UNAUTHORIZED)
    state.limits.count_request(token.id)
    return _signed_in(state, request, target, start_session_by_token(state.outbox, token))


@router.get("/sign-in/link")
def show_form_again() -> Response:
    """A browser that restores the page after the form."""
    return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)


@router.post("/sign-in/link")
def mail_link(request: Request, state: State, form: OpenForm, tasks: BackgroundTasks) -> Response:
    """Mail a link to a person who is known here. The answer is the same for all others."""
    state.limits.count_failure(_address(request))  # as for a wrong token: nobody may try very many addresses
    # The same browser may ask again, and use any of its links.
    user, browser = form.get("user"), request.cookies.get(BROWSER_COOKIE) or new_secret()
    # After the answer, whose time would tell whether the person is known.
    tasks.add_task(_mail_link, state, user, browser, own_address(form.get("next")))
    response = render(request, "link_sent.html", user=user, minutes=int(LINK_SECONDS // 60))
    set_cookie(response, BROWSER_COOKIE, browser, LINK_SECONDS)
    return response


@router.get("/sign-in/{secret}")
def show_link(request: Request, secret: str, next: str = "") -> Response:  # noqa: A002 - name in the address
    """What a mailed link shows. Opening it signs nobody in: programs open the links in mails, too."""
    is_same_browser = BROWSER_COOKIE in request.cookies
    return render(request, "link.html", secret=secret, is_same_browser=is_same_browser, next=own_address(next))


@router.post("/sign-in/{secret}")
def use_link(request: Request, state: State, secret: str, form: OpenForm) -> Response:
    """Begin a session with a mailed link."""
    session = start_session_by_link(state.settings, state.outbox, secret, request.cookies.get(BROWSER_COOKIE, ""))
    if not session:
        state.limits.count_failure(_address(request))
        error = "This link was used, has expired, or was asked for in another browser. Ask for a new one."
        return _form(request, state, next=_START, error=error, status=HTTPStatus.UNAUTHORIZED)
    response = _signed_in(state, request, own_address(form.get("next")), session)
    delete_cookie(response, BROWSER_COOKIE)
    return response


@router.post("/sign-out", dependencies=FORM_OF_VISITOR)
def sign_out(visitor: VisitorParameter, state: State) -> Response:
    """End the session."""
    end_session(state.outbox, visitor.session)
    response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    delete_cookie(response, SESSION_COOKIE)
    return response


def _form(request: Request, state: ServerState, *, status: int = HTTPStatus.OK, **variables: Any) -> Response:
    can_mail = _can_mail(state)
    return render(request, "sign_in.html", status=status, **{"error": "", "can_mail": can_mail, **variables})


def _signed_in(state: ServerState, request: Request, target: str, secret: str) -> Response:
    """Answer with a new cookie. The session before it ends."""
    before = find_session(state.settings, state.outbox, request.cookies.get(SESSION_COOKIE, ""))
    if before is not None:
        end_session(state.outbox, before)
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    set_cookie(response, SESSION_COOKIE, secret, SESSION_SECONDS)
    return response


def _can_mail(state: ServerState) -> bool:
    """Whether links can be mailed: there is a transport, and an address to which they lead."""
    serve = state.settings.config.serve
    if serve is None or (serve.url is None and (serve.behind_proxy or serve.host in _ALL_ADDRESSES)):
        return False
    return state.settings.mail_settings is not None


def _mail_link(state: ServerState, user: str, browser: str, target: str) -> None:
    if not _can_mail(state):
        return
    try:
        mail = create_link(state.settings, state.outbox, user, browser, f"{state.page_url}{SIGN_IN}")
        if mail is not None:
            query = f"?{urlencode({'next': target})}" if target != _START else ""
            send_link(state.settings, LinkMail(mail.user, mail.url + query))
    except NotifyError as error:
        log.error("a link to sign in could not be mailed: %s", error)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
