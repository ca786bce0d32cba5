"""HTTP requests through httpx, each with a new connection, an overall deadline and a bounded response."""

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
from syftnotify.transports.network import DeadlineBackend, PrivateAddressError, ResponseTooLongError, is_public
from syftnotify.transports.tls import ca_context

_CONNECT_SECONDS = 10.0
_MAX_BODY_BYTES = 64 * 1024  # of a response; the rest is not read
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNESCAPED = "/?:@!$&'()*+,;=%~"  # characters that stay as they are in a path or a query (RFC 3986, 3.3 and 3.4)
# Headers of a response that httpx must not see: it keeps cookies, and parses the target even of redirects that it does
# not follow, where an invalid one raises an error that hides the status.
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

# At INFO and DEBUG these libraries log URLs and headers of responses, which contain secrets.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Response:
    """A response. `content` is its body, at most the first 64 KiB; names in `headers` are in lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """`content` as UTF-8 text."""
        return self.content.decode("utf-8", "replace")


def request(
    method: str,
    url: str,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    seconds: float,
    public_only: bool = False,
) -> Response:
    """Send one request and read the response, within `seconds` in all.

    Redirects are not followed, nothing is sent twice, and a compressed body is not decompressed. Names in `headers` are
    in lower case. Proxies are read from the environment. `public_only` is for URLs of users who may not reach private
    networks through this machine: their addresses are refused, and no proxy is used, which could resolve others.

    Raises:
        DeliveryError: UNREACHABLE if nothing was sent, UNKNOWN if the request may have arrived.
    """
    with Deadline(seconds) as deadline:
        return _send(method, url, content, headers or {}, _Exchange(deadline, public_only=public_only), seconds)


def probe(url: str, *, seconds: float, public_only: bool = False) -> None:
    """Connect to `url` as `request` does, with the same proxy and encryption, and send nothing.

    Raises:
        DeliveryError: UNREACHABLE, there is no connection within `seconds`.
    """
    with Deadline(seconds) as deadline, contextlib.suppress(_Connected):
        _send("HEAD", url, b"", {}, _Probe(deadline, public_only=public_only), seconds)


def has_private_address(url: str, *, seconds: float) -> bool:
    """Whether an address of the host of `url` is one of a private network; False if the host is not known now."""
    parts = urlsplit(url)
    try:
        with Deadline(seconds) as deadline:
            found = deadline.resolve(parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0))
    except (OSError, ValueError):
        return False
    return not all(map(is_public, found))


def request_target(url: str) -> str:
    """The path and the query of `url` as they are sent: percent-encoded where they are not yet, otherwise unchanged.

    httpx would remove dot segments, and leave a bare `%` and some reserved characters, which strict servers reject.
    """
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return percent_encoded((parts.path or "/") + query)


def percent_encoded(text: str) -> str:
    """A path or a query, percent-encoded where it is not yet."""
    return quote(_BARE_PERCENT.sub("%25", text), safe=_UNESCAPED)


def _send(
    method: str, url: str, content: bytes, headers: Mapping[str, str], exchange: _Exchange, seconds: float
) -> Response:
    timeouts = {"connect": min(_CONNECT_SECONDS, seconds), "read": seconds, "write": seconds}
    try:
        exchange.target = request_target(url)
        response = _CLIENT.send(
            httpx.Request(
                method,
                url,
                content=content if method == "POST" else None,
                headers={"user-agent": "syftnotify", **headers, "accept-encoding": "identity"},
                extensions={"timeout": timeouts, "trace": exchange.trace, "exchange": exchange},
            ),
            # A configured header takes precedence over the credentials in the URL.
            auth=httpx.Auth() if "authorization" in headers else httpx.USE_CLIENT_DEFAULT,
            stream=True,  # otherwise httpx decompresses the body
        )
    except _ERRORS as error:
        raise _delivery_error(error, hostname(url), exchange) from None
    response_headers = dict(response.headers.multi_items())  # the last value of a repeated header
    return Response(response.status_code, b"".join(response.iter_raw()), response_headers)


def _delivery_error(error: Exception, host: str, exchange: _Exchange) -> DeliveryError:
    if exchange.deadline.has_passed or isinstance(error, (httpcore.TimeoutException, TimeoutError)):
        reason = "timed out"
    else:
        reason = _reason(error)
    if exchange.has_begun:
        return DeliveryError(Failure.UNKNOWN, f"cut off before {host} answered ({reason})")
    return DeliveryError(Failure.UNREACHABLE, f"{host} could not be reached ({reason})")


def _reason(error: Exception) -> str:
    """The cause of a failed request, without any part of the URL."""
    match error:
        case ResponseTooLongError():
            return "the response is too long"
        case PrivateAddressError():
            return "it has an address of a private network, which a target added through the API may not have"
        case ImportError():
            return "a SOCKS proxy needs the package `socksio`: run `pip install 'httpx[socks]'`"
        case httpcore.ProxyError():
            return f"the proxy answered {escape(str(error), limit=60)}"
        case ValueError() | httpx.InvalidURL():  # its text may repeat the URL
            return f"{type(error).__name__}: check the URL, and that of the proxy"
        case _:
            return type(error).__name__


class _Exchange:
    """The state of one request: its target, its deadline, and whether sending has begun."""

    def __init__(self, deadline: Deadline, *, public_only: bool = False) -> None:
        self.deadline = deadline
        self.public_only = public_only
        self.target = "/"
        self.has_begun = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore at each step."""
        # CONNECT is a request to the proxy and contains nothing of this one.
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.begin()

    def begin(self) -> None:
        """Called before the request is sent."""
        self.has_begun = True


class _Probe(_Exchange):
    """A request that ends before it is sent."""

    def begin(self) -> None:
        raise _Connected


class _Connected(Exception):  # noqa: N818 - not an error
    """Ends a `_Probe`: the connection is open."""


class _SingleUseTransport(httpx.BaseTransport):
    """Opens a new connection for each request, which ends with the deadline of its `_Exchange`.

    A kept connection that the server has closed cannot be distinguished from a lost response. `httpx.HTTPTransport`
    is not used because it accepts no network backend, and because httpx fails to parse IPv6 networks (`::1/128`) in
    NO_PROXY; `urllib.request` reads the proxies instead.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange: _Exchange = request.extensions["exchange"]
        url = request.url
        with (
            httpcore.ConnectionPool(
                ca_context() if url.scheme == "https" else None,
                proxy=None if exchange.public_only else _proxy_for(url),
                max_keepalive_connections=0,
                network_backend=DeadlineBackend(exchange.deadline, public_only=exchange.public_only),
            ) as connections,
            connections.stream(
                request.method,
                _core_url(url, exchange.target.encode("ascii")),
                headers=request.headers.raw,
                content=request.content or None,
                extensions=request.extensions,
            ) as response,
        ):
            headers = [(name, value) for name, value in response.headers if name.lower() not in _DROPPED_HEADERS]
            return httpx.Response(response.status, headers=headers, stream=httpx.ByteStream(_read_body(response)))


def _read_body(response: httpcore.Response) -> bytes:
    """The body, at most `_MAX_BODY_BYTES`. An error while it is read is ignored: the status is known already."""
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
        ValueError, httpx.InvalidURL: the proxy's URL is invalid.
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


# Safe to share between threads: it keeps neither connections nor cookies, and its transport reads the environment for
# each request.
_CLIENT = httpx.Client(transport=_SingleUseTransport(), trust_env=False)
