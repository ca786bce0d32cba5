"""Adapters that let Google's libraries send their requests through `transports.http_client`.

Each library has its own HTTP client, without an overall deadline or a limit for the size of a response.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from http.client import responses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from syftnotify.transports.http_client import Response, request

if TYPE_CHECKING:
    import requests
    from httplib2 import Response as HttplibResponse


def auth_request(seconds: float) -> Callable[..., Any]:
    """A `google.auth.transport.Request`; `seconds` is the time limit of all its requests together.

    Its calls raise DeliveryError, as `http_client.request`.
    """
    ends_at = time.monotonic() + seconds

    def send(url: str, method: str = "GET", body: Any = None, headers: Any = None, **_options: Any) -> Any:
        remaining = max(0.0, ends_at - time.monotonic())
        response = request(method, url, body or b"", _lower_names(headers), seconds=remaining)
        return SimpleNamespace(status=response.status, headers=response.headers, data=response.content)

    return send


def adapt_session(session: requests.Session, seconds: float) -> None:
    """Let a `requests.Session` send through `http_client`, without redirects; `seconds` limits each request."""
    from requests.adapters import BaseAdapter

    class Adapter(BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_arguments: Any, **_options: Any) -> requests.Response:
            return _requests_response(request, seconds)

        def close(self) -> None:
            """Nothing is kept open."""

    session.trust_env = False  # no passwords from .netrc; `http_client` reads proxies and certificates itself
    session.max_redirects = 0
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())


def _requests_response(prepared: requests.PreparedRequest, seconds: float) -> requests.Response:
    import requests

    body = prepared.body.encode("utf-8") if isinstance(prepared.body, str) else prepared.body
    method, url = str(prepared.method), str(prepared.url)
    response = request(method, url, body or b"", _lower_names(prepared.headers), seconds=seconds)
    converted = requests.Response()
    converted.status_code = response.status
    converted.headers.update(response.headers)
    converted.encoding = "utf-8"
    converted.raw = io.BytesIO(response.content)
    converted.request, converted.url = prepared, url
    return converted


class ApiHttp:
    """The HTTP object of googleapiclient. Its default, httplib2, repeats a POST when the connection closes."""

    def __init__(self, credentials: Any, seconds: float) -> None:
        """`credentials` are those of google-auth; `seconds` is the time limit of each request."""
        self._credentials = credentials
        self._seconds = seconds
        # This logger writes the text of errors, in which a server may repeat the access token.
        logging.getLogger("googleapiclient.http").setLevel(logging.CRITICAL)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        redirections: int = 0,  # noqa: ARG002 - part of the interface; redirects are not followed
        connection_type: Any = None,  # noqa: ARG002 - part of the interface
    ) -> tuple[HttplibResponse, bytes]:
        """Send one request. Raises: DeliveryError, as `http_client.request`."""
        sent_headers = _lower_names(headers)
        self._credentials.apply(sent_headers)
        content = body.encode("utf-8") if isinstance(body, str) else body or b""
        response = request(method, uri, content, sent_headers, seconds=self._seconds)
        return _httplib_response(response), response.content


def _httplib_response(response: Response) -> HttplibResponse:
    import httplib2

    converted = httplib2.Response(dict(response.headers))
    converted.status = response.status
    converted.reason = responses.get(response.status, "")
    return converted


def _lower_names(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}
