"""Overall time limit of one network conversation: name lookup, connection, TLS, all requests and replies."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from syftnotify.core.errors import DeliveryError, Failure


class Deadline:
    """Context manager that shuts down the sockets of a conversation when its time is over.

    Timeouts of libraries apply to a single read or write: a peer that sends one byte at a time never exceeds them. A
    shutdown ends every call that is in progress on the socket, also in libraries and in TLS.

    Attributes:
        has_passed: whether the time is over.
    """

    def __init__(self, seconds: float, *, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
        """`seconds` is the time limit, counted from now; `getaddrinfo` replaces that of `socket`."""
        self.has_passed = False
        self._getaddrinfo = getaddrinfo
        self._ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the timer. Raises: DeliveryError, UNREACHABLE: no thread can be started for it."""
        try:
            self._timer.start()
        except RuntimeError as error:
            raise DeliveryError(Failure.UNREACHABLE, f"no connection: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()

    def remaining(self, limit: float | None = None) -> float:
        """Seconds until the deadline, at most `limit` seconds.

        Raises:
            TimeoutError: the deadline has passed.
        """
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0 or self.has_passed:
            raise TimeoutError("timed out")
        return seconds if limit is None else min(seconds, limit)

    def resolve(self, host: str, port: int) -> list[str]:
        """The IP addresses of `host`.

        `getaddrinfo` cannot be interrupted. It runs on a daemon thread, which is abandoned at the deadline and ends
        when the system's resolver times out.

        Raises:
            OSError: the name is unknown, or the deadline has passed.
            UnicodeError: `host` is not a valid name.
        """
        result: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def lookup() -> None:
            try:
                entries = self._getaddrinfo(host, port, type=socket.SOCK_STREAM)
                result.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
            except (OSError, UnicodeError) as error:
                result.put(error)

        try:
            threading.Thread(target=lookup, name="name lookup", daemon=True).start()
            addresses = result.get(timeout=self.remaining())
        except RuntimeError as error:  # no thread could be started
            raise OSError(str(error)) from None
        except queue.Empty:
            raise TimeoutError("the name lookup timed out") from None
        if isinstance(addresses, Exception):
            raise addresses
        return addresses

    def connect(self, host: str, port: int, *, seconds: float) -> socket.socket:
        """A watched connection to the first address of `host` that accepts one, trying each for `seconds` at most.

        Raises:
            OSError: no address accepts, or the deadline has passed.
            UnicodeError: `host` is not a valid name.
        """
        failure: OSError = OSError("no address")
        for address in self.resolve(host, port):
            try:
                connection = socket.create_connection((address, port), self.remaining(seconds))
            except OSError as error:
                failure = error
                continue
            try:
                self.watch(connection)
            except OSError:
                connection.close()
                raise
            return connection
        raise failure

    def watch(self, connection: socket.socket) -> None:
        """Shut down `connection` at the deadline, or now if it has passed.

        Raises:
            OSError: `connection` is closed.
        """
        # A second handle of the same connection: TLS takes over the first one, and a shutdown of the TLS socket would
        # let later data be sent unencrypted.
        descriptor = socket.dup(connection.fileno())
        handle = socket.socket(connection.family, connection.type, connection.proto, fileno=descriptor)
        with self._lock:
            self._handles.append(handle)
            if self.has_passed:
                _shut_down(handle)

    def _expire(self) -> None:
        with self._lock:
            self.has_passed = True
            for handle in self._handles:
                _shut_down(handle)


def _shut_down(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
