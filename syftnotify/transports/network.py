"""Network backend for httpcore: connections with an overall deadline and a size limit.

Neither httpx nor httpcore has an overall deadline (their timeouts apply to each read and write), a timeout for name
lookups, or a limit for the size of a response.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from syftnotify.transports.deadline import Deadline

_MAX_CONNECTION_BYTES = 256 * 1024  # read from one connection, including headers, framing and replies of proxies


class ResponseTooLongError(httpcore.ReadError):
    """The server sent more than a connection may receive."""


class DeadlineBackend(httpcore.SyncBackend):
    """Opens connections that end at `deadline`."""

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
        """Connect to the first address of `host` that accepts, trying each for `timeout` seconds at most."""
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._deadline.resolve(host, port):
            try:
                remaining = self._deadline.remaining(timeout)
                stream = super().connect_tcp(address, port, remaining, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            try:
                self._deadline.watch(stream.get_extra_info("socket"))
            except OSError:
                stream.close()
                raise
            return _LimitedStream(stream, _MAX_CONNECTION_BYTES)
        raise failure


class _LimitedStream(httpcore.NetworkStream):
    """A connection from which at most `remaining` bytes are read."""

    def __init__(self, stream: httpcore.NetworkStream, remaining: int) -> None:
        self._stream = stream
        self._remaining = remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._remaining <= 0:
            raise ResponseTooLongError
        content = self._stream.read(min(max_bytes, self._remaining), timeout)
        self._remaining -= len(content)
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _LimitedStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._remaining)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
