"""One request over HTTP: sent once, ended in time, its answer read no further than anybody needs."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpcore

from syftnotify.config import Slack, Webhook
from syftnotify.deliver.policy import failure_of_status, retry_after
from syftnotify.errors import DeliveryError, Failure
from syftnotify.text import host_of, shown, without

CONNECT_SECONDS = 10.0
_ANSWER_CAP = 16 * 1024  # bytes
# What a path or a query may hold as it stands (RFC 3986, 3.3 and 3.4); what was escaped already stays as it is.
_AS_IT_IS = "/?:@!$&'()*+,;=%~"
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


_MAKING = threading.Lock()


def _trusted() -> ssl.SSLContext:
    """Whom we trust: whom the variables of OpenSSL name, else whom Mozilla does.

    Raises:
        DeliveryError: NO_ANSWER, what they name cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        with _MAKING:  # sixteen that begin together would make sixteen
            return _context(file or None, folder or None) if file or folder else _context(certifi.where(), None)
    except OSError as error:
        why = error.strerror or type(error).__name__
        said = f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {why}"
        raise DeliveryError(Failure.NO_ANSWER, said) from None


@cache  # for it takes 50 ms
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file, capath=folder)


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go, and through which proxy."""

    host: str  # as it may be shown
    url: httpcore.URL
    headers: Mapping[str, str]
    proxy: httpcore.Proxy | None


def address_of(url: str) -> Address:
    """`url` as it is sent, by the way that the environment says (`HTTPS_PROXY`, `NO_PROXY`).

    Raises:
        DeliveryError: NO_ANSWER, it or the proxy is no address, or nobody is known who could vouch for the proxy.
    """
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
        host = name
        if not name.isascii():
            host = name.encode("idna").decode("ascii")
            if host.encode("ascii").decode("idna") != name:
                raise ValueError("by the rules of 2003 this is another name than by those of 2008")
        target = _escaped(parts.path or "/") + (f"?{_escaped(parts.query)}" if parts.query else "")
        port = "" if parts.port is None else f":{parts.port}"
        headers = {"host": (f"[{host}]" if ":" in host else host) + port}
        if parts.username is not None:
            who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["authorization"] = "Basic " + base64.b64encode(who.encode()).decode("ascii")
        return Address(
            host=host_of(url),
            url=httpcore.URL(scheme=parts.scheme, host=host, port=parts.port, target=target),
            headers=headers,
            proxy=_proxy_to(host + port, parts.scheme),
        )
    except ValueError as error:
        # Its own words may repeat the address.
        why = f"{type(error).__name__}: see the address, and that of the proxy"
        raise DeliveryError(Failure.NO_ANSWER, f"{host_of(url)} could not be reached ({why})") from None


def _escaped(text: str) -> str:
    return quote(_BARE_PERCENT.sub("%25", text), safe=_AS_IT_IS)


def _proxy_to(place: str, scheme: str) -> httpcore.Proxy | None:
    """The proxy by which `place`, a host and perhaps a port, is reached.

    Raises:
        ValueError: it is none.
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


class Endpoint:
    """What the transports of the web have in common: one address, and a connection of its own for each attempt."""

    def __init__(self, settings: Slack | Webhook, *, clock: Callable[[], float]) -> None:
        self._url = settings.url.get_secret_value()
        self._seconds = settings.timeout_secs
        self._clock = clock

    @cached_property
    def _address(self) -> Address:
        return address_of(self._url)

    def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """One request. Raises: DeliveryError, as `request` does."""
        return request("POST", self._address, content, headers, seconds=self._seconds)

    def check(self) -> None:
        """Connect, without sending: there is no question that posts nothing. Raises: DeliveryError."""
        reach(self._url, seconds=self._seconds)

    def close(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    text: str  # its beginning
    headers: Mapping[str, str]  # named in small letters


def request(
    method: str, to: Address, content: bytes = b"", headers: Mapping[str, str] | None = None, *, seconds: float
) -> Answer:
    """Send one request and read the answer, on a connection of its own: a kept one may be dead, and nobody knows.

    No redirect is followed, and nothing is sent twice. `headers` are named in small letters.

    Raises:
        DeliveryError: NO_ANSWER when nothing was handed over, UNKNOWN when it may have been.
    """
    attempt = _Attempt()
    is_encrypted = to.url.scheme == b"https"
    limits = {"connect": min(CONNECT_SECONDS, seconds), "read": seconds, "write": seconds}
    said = {"accept-encoding": "identity", "user-agent": "syftnotify", **to.headers, **(headers or {})}
    timer = threading.Timer(seconds, attempt.cut)
    timer.daemon = True
    timer.start()
    try:
        with (
            httpcore.ConnectionPool(
                _trusted() if is_encrypted else None, proxy=to.proxy, max_keepalive_connections=0
            ) as connections,
            connections.stream(
                method,
                to.url,
                content=content if method == "POST" else None,
                headers=[*said.items()],
                extensions={"timeout": limits, "trace": attempt.trace},
            ) as answer,
        ):
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return Answer(answer.status, _beginning(answer).decode("utf-8", "replace"), found)
    except _ERRORS as error:
        why = "timed out" if attempt.is_cut or isinstance(error, httpcore.TimeoutException) else type(error).__name__
        if attempt.has_begun:
            raise DeliveryError(Failure.UNKNOWN, f"cut off before {to.host} answered ({why})") from None
        raise DeliveryError(Failure.NO_ANSWER, f"{to.host} could not be reached ({why})") from None
    finally:
        timer.cancel()
        attempt.close()


def _beginning(answer: httpcore.Response) -> bytes:
    """The beginning of a body. The status has said it all: one that breaks off takes nothing back."""
    text = b""
    with contextlib.suppress(*_ERRORS):
        for chunk in answer.iter_stream():
            text += chunk
            if len(text) >= _ANSWER_CAP:
                break
    return text[:_ANSWER_CAP]


def reach(url: str, *, seconds: float) -> None:
    """Connect to where `url` leads, encrypted if it says so, and send nothing.

    Raises:
        DeliveryError: NO_ANSWER.
    """
    parts = urlsplit(url)
    host = host_of(url)
    is_encrypted = parts.scheme == "https"
    try:
        port = parts.port or (443 if is_encrypted else 80)
        with socket.create_connection((host, port), timeout=min(CONNECT_SECONDS, seconds)) as connection:
            if is_encrypted:
                with _trusted().wrap_socket(connection, server_hostname=host):
                    pass
    except (OSError, ValueError) as error:
        why = "timed out" if isinstance(error, TimeoutError) else type(error).__name__
        raise DeliveryError(Failure.NO_ANSWER, f"{host} could not be reached ({why})") from None


def words_of(answer: Answer, secrets: Iterable[str]) -> str:
    """What the other side said, on one line, without what it was sent and nobody else must see."""
    return shown(without(" ".join(answer.text.split()), secrets), limit=120)


def secrets_of(url: str) -> list[str]:
    """What of an address is its password: its path, each part of it, and what follows; as written, meant and sent."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query, keep_blank_values=True)]
    way_in = parts.netloc.rpartition("@")[0]
    written = [url, parts.path.lstrip("/"), *parts.path.split("/"), parts.query, *values, parts.password or "", way_in]
    meant = [*map(unquote, written)]
    return [*written, *meant, *map(_escaped, meant), base64.b64encode(meant[-1].encode()).decode("ascii")]


def refusal(answer: Answer, host: str, now: float, secrets: Iterable[str]) -> DeliveryError:
    """What an answer other than success means; `now` is in seconds since 1970."""
    words = words_of(answer, secrets)
    return DeliveryError(
        Failure.GONE if answer.status == 410 else failure_of_status(answer.status),
        f"{host} answered {answer.status} {words}".rstrip(),
        not_before=retry_after(answer.headers.get("retry-after"), datetime.fromtimestamp(now, UTC)),
    )


class _Attempt:
    """How far a request has come, and how to end it: the library's own limits are for each single read."""

    def __init__(self) -> None:
        self.has_begun = False
        self.is_cut = False
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Called by the library at each step."""
        if name.endswith("connect_tcp.complete"):
            connected = info["return_value"].get_extra_info("socket")
            with self._lock:
                # A second handle of the same connection, for encryption takes the first one away.
                self._connection = connected.dup()
                if self.is_cut:
                    self._shut()
        elif name.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.has_begun = True  # what a proxy is asked first holds nothing of ours

    def cut(self) -> None:
        """The time is over."""
        with self._lock:
            self.is_cut = True
            self._shut()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _shut(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
