"""One HTTP request per call through httpx: a new connection, an overall deadline, a bounded response."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.text import escape, hostname
from syftnotify.transports.deadline import Deadline
from syftnotify.transports.network import DeadlineBackend, ResponseTooLongError
from syftnotify.transports.tls import ca_context

CONNECT_SECONDS = 10.0
_MAX_BODY_BYTES = 64 * 1024  # of a response; the rest is not read
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNESCAPED = "/?:@!$&'()*+,;=%~"  # in a path or a query (RFC 3986, 3.3 and 3.4)
# Headers of a response that httpx would act upon: it parses the target even of redirects that it does not follow (an
# invalid one hides the status), and keeps cookies.
_DROPPED_HEADERS = frozenset({b"location", b"set-cookie"})
_ERRORS = (
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
    ImportError,  # a SOCKS proxy without the package for it
)

# At INFO and DEBUG they log whole URLs and the headers of responses, which contain secrets.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Response:
    """A response: `content` is at most the first 64 KiB of its body, header names are in lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """`content` as text."""
        return self.content.decode("utf-8", "replace")


def request(
    method: str, url: str, content: bytes = b"", headers: Mapping[str, str] | None = None, *, seconds: float
) -> Response:
    """Send one request and read the response, within `seconds` in all.

    Redirects are not followed, nothing is sent twice, and a compressed body is not decompressed. Names in `headers` are
    in lower case. Proxies are read from the environment.

    Raises:
        DeliveryError: UNREACHABLE when nothing was sent, UNKNOWN when the request may have arrived.
    """
    with Deadline(seconds) as deadline:
        return _send(method, url, content, headers or {}, _Attempt(deadline), seconds)


def probe(url: str, *, seconds: float) -> None:
    """Connect to `url` as `request` does, with the same proxy and encryption, and send nothing.

    Raises:
        DeliveryError: UNREACHABLE.
    """
    with Deadline(seconds) as deadline, contextlib.suppress(_Connected):
        _send("HEAD", url, b"", {}, _Probe(deadline), seconds)


def request_target(url: str) -> str:
    """The path and the query of `url` as they are sent: percent-encoded where they are not yet, nothing else changed.

    httpx removes dot segments and leaves a bare `%` and some reserved characters as they are; strict servers reject
    these.
    """
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return percent_encoded((parts.path or "/") + query)


def percent_encoded(text: str) -> str:
    """A path or a query, percent-encoded where it is not yet."""
    return quote(_BARE_PERCENT.sub("%25", text), safe=_UNESCAPED)


def _send(
    method: str, url: str, content: bytes, headers: Mapping[str, str], attempt: _Attempt, seconds: float
) -> Response:
    timeouts = {"connect": min(CONNECT_SECONDS, seconds), "read": seconds, "write": seconds}
    try:
        attempt.target = request_target(url)
        response = _CLIENT.send(
            httpx.Request(
                method,
                url,
                content=content if method == "POST" else None,
                headers={"user-agent": "syftnotify", **headers, "accept-encoding": "identity"},
                extensions={"timeout": timeouts, "trace": attempt.trace, "attempt": attempt},
            ),
            # A configured header takes precedence over the credentials in the URL.
            auth=httpx.Auth() if "authorization" in headers else httpx.USE_CLIENT_DEFAULT,
            stream=True,  # otherwise httpx decompresses the body
        )
    except _ERRORS as error:
        raise _delivery_error(error, hostname(url), attempt) from None
    last_values = dict(response.headers.multi_items())  # of a repeated header
    return Response(response.status_code, b"".join(response.iter_raw()), last_values)


def _delivery_error(error: Exception, host: str, attempt: _Attempt) -> DeliveryError:
    if attempt.deadline.has_passed or isinstance(error, (httpcore.TimeoutException, TimeoutError)):
        reason = "timed out"
    else:
        reason = _reason(error)
    if attempt.has_begun:
        return DeliveryError(Failure.UNKNOWN, f"cut off before {host} answered ({reason})")
    return DeliveryError(Failure.UNREACHABLE, f"{host} could not be reached ({reason})")


def _reason(error: Exception) -> str:
    """The cause of a failed request, without any part of the URL."""
    match error:
        case ResponseTooLongError():
            return "the response is too long"
        case ImportError():
            return "a SOCKS proxy needs the package `socksio`: run `pip install 'httpx[socks]'`"
        case httpcore.ProxyError():
            return f"the proxy answered {escape(str(error), limit=60)}"
        case ValueError() | httpx.InvalidURL():  # its text may repeat the URL
            return f"{type(error).__name__}: check the URL, and that of the proxy"
        case _:
            return type(error).__name__


class _Attempt:
    """One request: what is sent, until when, and how far it got."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.target = "/"
        self.has_begun = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Httpcore calls this at each step."""
        # CONNECT is for the proxy and contains nothing of the request.
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.begin()

    def begin(self) -> None:
        """The request is about to be sent."""
        self.has_begun = True


class _Probe(_Attempt):
    """A request that ends where it would be sent."""

    def begin(self) -> None:
        raise _Connected


class _Connected(Exception):  # noqa: N818 - a result
    """The connection is open."""


class _SingleUseTransport(httpx.BaseTransport):
    """A new connection for each request, by the network backend of its attempt.

    A kept connection that the server has closed is indistinguishable from a lost response. `httpx.HTTPTransport`
    accepts no network backend, and its reader of NO_PROXY fails at IPv6 networks (`::1/128`), so the proxy is found by
    `urllib.request`.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        attempt: _Attempt = request.extensions["attempt"]
        url = request.url
        with (
            httpcore.ConnectionPool(
                ca_context() if url.scheme == "https" else None,
                proxy=_proxy_for(url),
                max_keepalive_connections=0,
                network_backend=DeadlineBackend(attempt.deadline),
            ) as connections,
            connections.stream(
                request.method,
                _core_url(url, attempt.target.encode("ascii")),
                headers=request.headers.raw,
                content=request.content or None,
                extensions=request.extensions,
            ) as response,
        ):
            headers = [(name, value) for name, value in response.headers if name.lower() not in _DROPPED_HEADERS]
            return httpx.Response(response.status, headers=headers, stream=httpx.ByteStream(_read_body(response)))


def _read_body(response: httpcore.Response) -> bytes:
    """The beginning of the body. One that breaks off does not invalidate the status."""
    body = bytearray()
    with contextlib.suppress(*_ERRORS):
        for chunk in response.iter_stream():
            body += chunk
            if len(body) >= _MAX_BODY_BYTES:
                break
    return bytes(body[:_MAX_BODY_BYTES])


def _proxy_for(url: httpx.URL) -> httpcore.Proxy | None:
    """The proxy that the environment names for `url` (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY).

    Raises:
        ValueError, httpx.InvalidURL: its URL is invalid.
        DeliveryError: as `ca_context`.
    """
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    host = url.raw_host.decode("ascii")
    if not found or proxy_bypass(f"{host}:{url.port or _DEFAULT_PORTS.get(url.scheme)}"):
        return None
    proxy = httpx.Proxy(found if "://" in found else f"http://{found}")
    if not proxy.url.host:
        raise ValueError("a proxy without a host")
    context = ca_context() if proxy.url.scheme == "https" else None
    return httpcore.Proxy(_core_url(proxy.url, b"/"), auth=proxy.raw_auth, ssl_context=context)


def _core_url(url: httpx.URL, target: bytes) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target)


# Shared by all threads: it keeps neither connections nor cookies, and reads the environment for each request.
_CLIENT = httpx.Client(transport=_SingleUseTransport(), trust_env=False)
