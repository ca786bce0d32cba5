"""Limits of a request's body: its size, and the time in which it must arrive."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syftnotify.web.problems import problem

MAX_BODY = 1024 * 1024  # bytes
REQUEST_SECONDS = 10.0  # for the head of a request, and for its body


class BodyLimit:
    """ASGI middleware that answers 413 to bodies that are too large, and 408 to those that arrive too slowly."""

    def __init__(self, app: ASGIApp, *, max_body: int = MAX_BODY, seconds: float = REQUEST_SECONDS) -> None:
        self._app = app
        self._max_body = max_body
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = b""
        try:
            async with asyncio.timeout(self._seconds):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > self._max_body:
                        status, detail = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {self._max_body} bytes"
                        await problem(status, detail, {"Connection": "close"})(scope, receive, send)
                        return
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            status, detail = HTTPStatus.REQUEST_TIMEOUT, f"the body must arrive within {self._seconds:g} s"
            await problem(status, detail, {"Connection": "close"})(scope, receive, send)
            return
        pending: list[Message] = [message if message["type"] != "http.request" else {**message, "body": body}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)


class SecurityHeaders:
    """ASGI middleware that adds headers against sniffing, caching and embedding to each response."""

    _HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers += [header for header in self._HEADERS if header[0] not in names]
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)
