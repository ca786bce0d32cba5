"""One HTTP request: sent once, within an overall time limit, its response read up to a size limit."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpcore

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.text import escape, hostname
from syftnotify.transports.deadline import Deadline

CONNECT_SECONDS = 10.0
_BODY_CAP = 64 * 1024  # bytes of a body that are read
_CAP = 256 * 1024  # bytes of a connection that are read: status lines, headers, framing and the replies of proxies
# Characters that a path or a query may contain unescaped (RFC 3986, 3.3 and 3.4). Escapes are kept.
_UNESCAPED = "/?:@!$&'()*+,;=%~"
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
    ImportError,  # a SOCKS proxy without the library for it
)
_LOADING = threading.Lock()


def _trusted() -> ssl.SSLContext:
    """Trusted authorities: all that the variables of OpenSSL, requests and curl name; without any, certifi's.

    Raises:
        DeliveryError: UNREACHABLE, they cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    found = [("SSL_CERT_FILE or SSL_CERT_DIR", file or None, folder or None)] if file or folder else []
    bundles = {name: os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    found += [
        (name, None, path) if Path(path).is_dir() else (name, path, None) for name, path in bundles.items() if path
    ]
    with _LOADING:  # so that threads that start together load them once
        return _context(tuple(found) or (("certifi", certifi.where(), None),))


@cache  # loading takes 50 ms
def _context(places: tuple[tuple[str, str | None, str | None], ...]) -> ssl.SSLContext:
    """A context that trusts the authorities in `places`: what names each, its file, its folder."""
    (name, file, folder), *others = places
    try:
        context = ssl.create_default_context(cafile=file, capath=folder)
        for name, file, folder in others:  # noqa: B007 - the error names it
            context.load_verify_locations(file, folder)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DeliveryError(
            Failure.UNREACHABLE, f"the certificates that {name} names cannot be read: {why}; correct or unset it"
        ) from None
    return context


@dataclass(frozen=True, slots=True)
class Address:
    """Target of requests, and the proxy that leads there."""

    host: str  # in the form that may be displayed
    url: httpcore.URL
    headers: Mapping[str, str]
    proxy: httpcore.Proxy | None


def address_of(url: str) -> Address:
    """Target of requests to `url`, with the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`).

    Raises:
        DeliveryError: UNREACHABLE, `url` or the address of the proxy is invalid, or the proxy's certificate cannot be
            verified.
    """
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
        host = name
        if not name.isascii():
            host = name.encode("idna").decode("ascii")
            if host.encode("ascii").decode("idna") != name:
                raise ValueError("IDNA 2003 maps this name to a different one than IDNA 2008")
        target = escaped(parts.path or "/") + (f"?{escaped(parts.query)}" if parts.query else "")
        port = "" if parts.port is None else f":{parts.port}"
        headers = {"host": (f"[{host}]" if ":" in host else host) + port}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["authorization"] = "Basic " + base64.b64encode(user.encode()).decode("ascii")
        return Address(
            host=hostname(url),
            url=httpcore.URL(scheme=parts.scheme, host=host, port=parts.port, target=target),
            headers=headers,
            proxy=_proxy_to(host + port, parts.scheme),
        )
    except ValueError as error:
        # Its text may repeat the address.
        why = f"{type(error).__name__}: see the address, and that of the proxy"
        raise DeliveryError(Failure.UNREACHABLE, f"{hostname(url)} could not be reached ({why})") from None


def escaped(text: str) -> str:
    """A path or a query as it is sent: percent-encoded where it is not yet."""
    return quote(_BARE_PERCENT.sub("%25", text), safe=_UNESCAPED)


def _proxy_to(place: str, scheme: str) -> httpcore.Proxy | None:
    """The proxy for `place`, a host with an optional port.

    Raises:
        ValueError: its address is invalid.
        DeliveryError: as `_trusted` does.
    """
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    if not found or proxy_bypass(place):
        return None
    parts = urlsplit(found if "://" in found else f"http://{found}")
    if parts.scheme not in {"http", "https", "socks5", "socks5h"} or not parts.hostname:
        raise ValueError("no proxy")
    url = httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target="/")
    auth = None
    if parts.username is not None:
        auth = unquote(parts.username).encode(), unquote(parts.password or "").encode()
    return httpcore.Proxy(url, auth=auth, ssl_context=_trusted() if parts.scheme == "https" else None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `content` is the beginning of its body, header names are in lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """`content` as text."""
        return self.content.decode("utf-8", "replace")


def request(
    method: str, to: Address, content: bytes = b"", headers: Mapping[str, str] | None = None, *, seconds: float
) -> Answer:
    """Send one request and read the response, on a new connection: a kept one may be closed already.

    `seconds` limits all of it. No redirect is followed, and nothing is sent twice. Names in `headers` are in lower
    case. A body that is compressed all the same is not decompressed.

    Raises:
        DeliveryError: UNREACHABLE when nothing was sent, UNKNOWN when the request may have arrived.
    """
    with Deadline(seconds) as deadline:
        return _exchange(method, to, content, headers or {}, _Attempt(deadline), seconds)


def reach(url: str, *, seconds: float) -> None:
    """Connect to `url` as `request` does, through the same proxy and with the same encryption, and send nothing.

    Raises:
        DeliveryError: UNREACHABLE.
    """
    with Deadline(seconds) as deadline, contextlib.suppress(_Connected):
        _exchange("HEAD", address_of(url), b"", {}, _Probe(deadline), seconds)


def _exchange(
    method: str, to: Address, content: bytes, headers: Mapping[str, str], attempt: _Attempt, seconds: float
) -> Answer:
    limits = {"connect": min(CONNECT_SECONDS, seconds), "read": seconds, "write": seconds}
    sent = {"user-agent": "syftnotify", **to.headers, **headers, "accept-encoding": "identity"}
    try:
        with (
            httpcore.ConnectionPool(
                _trusted() if to.url.scheme == b"https" else None,
                proxy=to.proxy,
                max_keepalive_connections=0,
                network_backend=_Backend(attempt.deadline),
            ) as connections,
            connections.stream(
                method,
                to.url,
                content=content if method == "POST" else None,
                headers=[*sent.items()],
                extensions={"timeout": limits, "trace": attempt.trace},
            ) as answer,
        ):
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return Answer(answer.status, _beginning(answer), found)
    except _ERRORS as error:
        if attempt.deadline.has_passed or isinstance(error, (httpcore.TimeoutException, TimeoutError)):
            why = "timed out"
        else:
            why = _cause_of(error)
        if attempt.has_begun:
            raise DeliveryError(Failure.UNKNOWN, f"cut off before {to.host} answered ({why})") from None
        raise DeliveryError(Failure.UNREACHABLE, f"{to.host} could not be reached ({why})") from None


def _cause_of(error: Exception) -> str:
    """The cause of a failed exchange, in words that repeat nothing of the address."""
    if isinstance(error, _TooLongError):
        return "its answer is too long"
    if isinstance(error, ImportError):
        return "a SOCKS proxy needs the package `socksio`: install `httpcore[socks]`"
    if isinstance(error, httpcore.ProxyError):
        return f"the proxy answered {escape(str(error), limit=60)}"
    return type(error).__name__


def _beginning(answer: httpcore.Response) -> bytes:
    """The beginning of a body. One that breaks off does not take the status back."""
    content = bytearray()
    with contextlib.suppress(*_ERRORS):
        for chunk in answer.iter_stream():
            content += chunk
            if len(content) >= _BODY_CAP:
                break
    return bytes(content[:_BODY_CAP])


class _Attempt:
    """Progress of one request."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.has_begun = False

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Called by the library at each step."""
        # What a proxy is asked first (CONNECT) contains nothing of the request.
        if name.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.begin()

    def begin(self) -> None:
        """The request is about to be sent."""
        self.has_begun = True


class _Probe(_Attempt):
    """A request that ends where it would be sent."""

    def begin(self) -> None:
        raise _Connected


class _Connected(Exception):  # noqa: N818 - a result
    """The connection stands."""


class _TooLongError(httpcore.ReadError):
    """The peer sends more than anybody reads."""


class _Backend(httpcore.SyncBackend):
    """Connections within a deadline and up to a size limit."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError("no address")
        for address in self._deadline.resolve(host, port):
            try:
                left = self._deadline.remaining(timeout)
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                self._deadline.watch(stream.get_extra_info("socket"))
                return _Stream(stream)
        raise failed


class _Stream(httpcore.NetworkStream):
    """A connection of which only so many bytes are read."""

    def __init__(self, inner: httpcore.NetworkStream, left: int = _CAP) -> None:
        self._inner = inner
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise _TooLongError
        content = self._inner.read(min(max_bytes, self._left), timeout)
        self._left -= len(content)
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
