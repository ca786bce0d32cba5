"""The server: `notify serve`, or a thread of the worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from syftnotify.config.load import Settings
from syftnotify.config.schema import Serve
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.identifiers import LOOPBACK
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.creation import Idempotency
from syftnotify.web.access import RateLimits
from syftnotify.web.app import create_app
from syftnotify.web.limits import REQUEST_SECONDS
from syftnotify.web.stream import PING_SECONDS

log = logging.getLogger(__name__)

_STOP_SECONDS = 1  # for open requests; streams end at once
_BACKLOG = 2048
_MAX_FILES = 65_536


class _Protocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose next request does not arrive, which would stay open for ever.

    It logs no requests: a client may put a token into the path by mistake.
    """

    def __init__(self, *arguments: Any, request_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.access_log = False
        self._request_seconds = request_seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        super().connection_made(transport)
        self._is_waiting_since = self.loop.time()
        self.loop.call_later(self._request_seconds, self._close_if_waiting)

    def on_response_complete(self) -> None:
        self._is_waiting_since = self.loop.time()
        super().on_response_complete()

    def _close_if_waiting(self) -> None:
        if self.transport.is_closing():
            return
        is_waiting = self.cycle is None or self.cycle.response_complete
        limit = self._request_seconds
        rest = self._is_waiting_since + limit - self.loop.time() if is_waiting else limit
        if rest > 0:
            self.loop.call_later(rest, self._close_if_waiting)
        else:
            self.transport.close()


class Server:
    """Context manager of one server that listens; `run` serves until `stop`.

    Attributes:
        grpc_port: the port of the gRPC service, which serves until the end of the context; None: there is none.
    """

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxStore,
        listener: socket.socket,
        *,
        ping_seconds: float = PING_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
        limits: RateLimits | None = None,
    ) -> None:
        """Prepare a server; nothing is served before `run`.

        Args:
            settings: with a section `serve`.
            outbox: stays open while the server runs.
            listener: that of `listen`.
            ping_seconds: time between two pings of a stream.
            request_seconds: time in which the head of a request must arrive, and then its body.
            limits: those of requests; None: the usual ones.
        """
        serve = settings.config.serve
        assert serve is not None
        self._listener = listener
        self._limits = limits or RateLimits()
        self._idempotency = Idempotency(outbox)
        self._settings = settings
        self._outbox = outbox
        self.grpc_port: int | None = None
        self._end = ExitStack()
        self._scheme = "http" if serve.certfile is None else "https"
        options: dict[str, Any] = {}
        if serve.certfile is not None:
            options = {"ssl_certfile": str(serve.certfile), "ssl_keyfile": serve.keyfile and str(serve.keyfile)}
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(
                    settings,
                    outbox,
                    is_stopping=lambda: self._server.should_exit,
                    ping_seconds=ping_seconds,
                    request_seconds=request_seconds,
                    limits=self._limits,
                    idempotency=self._idempotency,
                    url=self.url,
                ),
                http=partial(_Protocol, request_seconds=request_seconds),  # type: ignore[arg-type] # it calls this only
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # `ProxyAddresses` reads them
                timeout_graceful_shutdown=_STOP_SECONDS,
                **options,
            )
        )

    def __enter__(self) -> Self:
        """Start the gRPC service. Raises: NotifyError, as `grpc_server`."""
        serve = self._settings.config.serve
        if serve is not None and serve.grpc_port is not None:
            from syftnotify.web.grpc_server import grpc_server

            service = grpc_server(self._settings, self._outbox, self._limits, self._idempotency)
            self.grpc_port = self._end.enter_context(service)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The address of the server."""
        host = self._listener.getsockname()[0]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def description(self) -> str:
        """Where it serves, as one line for people."""
        return f"serving on {self.url}{f', gRPC on port {self.grpc_port}' if self.grpc_port is not None else ''}"

    def run(self) -> None:
        """Serve until `stop` is called, or in the main thread until SIGTERM or SIGINT."""
        _allow_connections()
        self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """End all streams and requests. Safe to call from other threads and signal handlers."""
        self._server.should_exit = True


def _allow_connections() -> None:
    """Permit as many open files as the system does: each client is one, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a system may permit less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(settings: Settings) -> socket.socket:
    """The socket of the configured address.

    Raises:
        ConfigError: it is not loopback, and neither TLS nor a proxy protects it; or the certificate cannot be used.
        NotifyError: the address is in use, or not one of this machine.
    """
    serve = settings.config.serve
    assert serve is not None
    if serve.host not in LOOPBACK and serve.certfile is None and not serve.behind_proxy:
        raise ConfigError(
            f"serve.host: {serve.host} is reachable from other machines, and tokens would be sent unencrypted",
            hint="set `certfile`, or `behind_proxy` if a proxy adds TLS",
        )
    _check_certificate(serve)
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    # asyncio turns off the delay of small segments (40 ms for an answer) only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((serve.host, serve.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        option = "--host" if isinstance(error, socket.gaierror) else "--port"
        raise NotifyError(
            f"cannot listen on {serve.host}:{serve.port}: {error.strerror}", hint=f"choose another `{option}`"
        ) from error
    return listener


def _check_certificate(serve: Serve) -> None:
    """Raises: ConfigError, the certificate or its key cannot be used."""
    if serve.certfile is None:
        if serve.keyfile is not None:
            raise ConfigError("serve.keyfile: there is no certificate", hint="set `certfile`, too")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(serve.certfile, serve.keyfile)
    except OSError as error:
        reason = "not a certificate with its key, PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"serve.certfile: {serve.certfile} cannot be used: {reason}", hint="check `certfile` and `keyfile`"
        ) from error
