"""A server of the web that does what it is told, and takes down every request."""

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

from tests.fakes.mailserver import HOST, RawServer, raw


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    line: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[socket.socket], None]


@dataclass
class Web:
    """Answers the next of `answers`, else `usual`; each connection may carry several requests."""

    usual: Answer
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    server: RawServer | None = None
    context: ssl.SSLContext | None = None  # its side of the encryption, if it encrypts
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
                answer = self.answers.pop(0) if self.answers else self.usual
            answer(connection)


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
def web(usual: Answer | None = None, context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A server of the web, while the block runs."""
    made = Web(usual or says(200, "ok"), context=context)
    with raw(made.handle) as server:
        made.server = server
        yield made


def says(status: int, text: str = "", **headers: str) -> Answer:
    """Answers so; `Retry_After` stands for `Retry-After`."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(text.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def answer(connection: socket.socket) -> None:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + text).encode())

    return answer


def closes(connection: socket.socket) -> None:
    """Read it all, and goes."""
    connection.shutdown(socket.SHUT_RDWR)


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # `close` would wait for the file that reads from it


def babbles(connection: socket.socket) -> None:
    """Answers something that is not HTTP."""
    connection.sendall(b"what?\r\n\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def hangs(connection: socket.socket) -> None:
    """Never answers."""
    while connection.recv(65536):
        pass


def drips(connection: socket.socket) -> None:
    """Answers a byte at a time, for ever: each read has its answer in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x")
            if _is_gone(connection):
                return


def _is_gone(connection: socket.socket) -> bool:
    connection.settimeout(0.05)  # the pause between two bytes
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def floods(connection: socket.socket) -> None:
    """An answer without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x" * 65536)
