"""Who makes a request, what the role permits, and how many requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from syftnotify.core.outbox import OutboxStore
from syftnotify.core.throttle import SlidingWindow
from syftnotify.core.tokens import Role, Token
from syftnotify.services.tokens import find_token
from syftnotify.web.problems import ProblemError
from syftnotify.web.state import ServerState, state_of

_WINDOW_SECONDS = 60.0
REQUESTS_PER_MINUTE = 600  # of one token
STREAMS_PER_MINUTE = 3000  # that one token opens: after an outage all clients connect again
FAILURES_PER_MINUTE = 30  # requests without a valid token, of one client address

_bearer = HTTPBearer(auto_error=False, description="a token of `notify token create`")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="syftnotify"'}


class RateLimits:
    """Counts requests of tokens, and failed attempts of addresses. Used by several threads."""

    def __init__(self, *, requests: int = REQUESTS_PER_MINUTE, failures: int = FAILURES_PER_MINUTE) -> None:
        self._requests = SlidingWindow(requests, _WINDOW_SECONDS)
        self._streams = SlidingWindow(STREAMS_PER_MINUTE, _WINDOW_SECONDS)
        self._failures = SlidingWindow(failures, _WINDOW_SECONDS)
        self._lock = threading.Lock()

    def count_request(self, token_id: str) -> None:
        """Count a request. Raises: ProblemError, there were too many."""
        self._count(self._requests, token_id)

    def count_stream(self, token_id: str) -> None:
        """Count the opening of a stream. Raises: ProblemError, there were too many."""
        self._count(self._streams, token_id)

    def count_failure(self, address: str) -> None:
        """Count a request without a valid token. Raises: ProblemError, there were too many from `address`."""
        self._count(self._failures, address)

    def _count(self, window: SlidingWindow, key: str) -> None:
        now = time.monotonic()
        with self._lock:
            if window.is_full(key, now):
                raise _too_many()
            window.record(key, now)


def _too_many() -> ProblemError:
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS, "too many requests in a minute", {"Retry-After": f"{_WINDOW_SECONDS:.0f}"}
    )


def authenticate(outbox: OutboxStore, limits: RateLimits, secret: str, address: str) -> Token:
    """The token with this secret, in a request from `address`. The caller counts the request.

    Raises:
        ProblemError: there is no valid one, or there were too many attempts.
    """
    token = find_token(outbox, secret) if secret else None
    if token is None:
        # Valid tokens are not affected: others on the same address could lock their users out.
        limits.count_failure(address)
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "a valid token is needed", _CHALLENGE)
    return token


def permit(token: Token, roles: Collection[Role]) -> Token:
    """The token, if it has one of these roles. Raises: ProblemError, it has not."""
    if token.role not in roles:
        raise ProblemError(HTTPStatus.FORBIDDEN, f"the role {token.role.value} does not permit this")
    return token


def _authenticated(
    request: Request,
    state: Annotated[ServerState, Depends(state_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Token:
    secret = credentials.credentials if credentials is not None else ""
    return authenticate(state.outbox, state.limits, secret, request.client.host if request.client else "")


def _requires(*roles: Role, is_stream: bool = False) -> Callable[[Token, ServerState], Token]:
    """A dependency that admits tokens with one of these roles, within the limits."""

    def permitted(
        token: Annotated[Token, Depends(_authenticated)], state: Annotated[ServerState, Depends(state_of)]
    ) -> Token:
        count = state.limits.count_stream if is_stream else state.limits.count_request
        count(token.id)
        return permit(token, roles)

    return permitted


CREATORS = (Role.SERVICE, Role.OPERATOR)
Reader = Annotated[Token, Depends(_requires(Role.VIEWER, Role.OPERATOR))]
StreamReader = Annotated[Token, Depends(_requires(Role.VIEWER, Role.OPERATOR, is_stream=True))]
Operator = Annotated[Token, Depends(_requires(Role.OPERATOR))]
Creator = Annotated[Token, Depends(_requires(*CREATORS))]
DENIALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
