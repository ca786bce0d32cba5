"""An HTTP server with configurable responses that records every request."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.mailserver import HOST, RawServer, serve_raw


@dataclass(frozen=True, slots=True)
class Request:
    line: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Responder = Callable[[socket.socket], None]


@dataclass
class WebServer:
    """Handles each request with the next of `responses`, then with `default`; supports keep-alive."""

    default: Responder
    responses: list[Responder] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    server: RawServer | None = None
    context: ssl.SSLContext | None = None  # of TLS; None: plain HTTP
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http{'s' * bool(self.context)}://{HOST}:{self.server.port}/services/T000/secret-path"

    def handle(self, connection: socket.socket) -> None:
        if self.context is None:
            self._serve(connection)
        else:
            with self.context.wrap_socket(connection, server_side=True) as encrypted:
                self._serve(encrypted)

    def _serve(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while request := _read(file):
            with self._lock:
                self.requests.append(request)
                responder = self.responses.pop(0) if self.responses else self.default
            responder(connection)


def _read(file: Any) -> Request | None:
    line = file.readline().decode("latin-1").strip()
    if not line:
        return None
    headers = {}
    while text := file.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line, headers, file.read(int(headers.get("content-length", 0))))


@contextlib.contextmanager
def serve_web(default: Responder | None = None, context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run the server for the duration of the block."""
    web_server = WebServer(default or respond(200, "ok"), context=context)
    with serve_raw(web_server.handle) as server:
        web_server.server = server
        yield web_server


def respond(status: int, text: str = "", **headers: str) -> Responder:
    """Respond with these values; the name `Retry_After` stands for `Retry-After`."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(text.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def send(connection: socket.socket) -> None:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + text).encode())

    return send


def close_connection(connection: socket.socket) -> None:
    """Close the connection after the request, without a response."""
    connection.shutdown(socket.SHUT_RDWR)


def reset_connection(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # `close` would wait until the file object of it is closed


def send_garbage(connection: socket.socket) -> None:
    """Send a line that is not HTTP, and close the connection."""
    connection.sendall(b"not HTTP\r\n\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def drip(connection: socket.socket) -> None:
    """Send an endless header byte by byte, so that no single read times out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x")
            if _is_closed(connection):
                return


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)  # the interval between two bytes
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def flood(connection: socket.socket) -> None:
    """Send an endless body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x" * 65536)
