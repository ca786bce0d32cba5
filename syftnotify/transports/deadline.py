"""Overall time limit of one network conversation: name lookup, connection, encryption, every request and reply."""

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
    """Shuts the sockets of a conversation down when its time is over. A context manager.

    Timeouts of the libraries hold for a single read or write: a peer that sends one byte now and then never exceeds
    them. A shutdown ends whatever is under way on the socket, also inside a library and inside TLS.

    `look_up` is called as `socket.getaddrinfo` is.

    Raises:
        DeliveryError: UNREACHABLE, the system starts no thread for the time limit.
    """

    def __init__(self, seconds: float, *, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self.has_passed = False
        self._look_up = look_up
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
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

    def remaining(self, most: float | None = None) -> float:
        """Seconds that are left, at most `most`.

        Raises:
            TimeoutError: none are.
        """
        left = self._ends - time.monotonic()
        if left <= 0 or self.has_passed:
            raise TimeoutError("timed out")
        return left if most is None else min(left, most)

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host`.

        `getaddrinfo` cannot be interrupted. It runs on a daemon thread, which is left behind when the time is over and
        ends when the system's resolver gives up.

        Raises:
            OSError: the name is unknown, or the lookup took too long.
            UnicodeError: it is no name.
        """
        found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                entries = self._look_up(host, port, type=socket.SOCK_STREAM)
                found.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
            except (OSError, UnicodeError) as error:
                found.put(error)

        try:
            threading.Thread(target=look_up, name="name lookup", daemon=True).start()
            addresses = found.get(timeout=self.remaining())
        except RuntimeError as error:
            raise OSError(str(error)) from None
        except queue.Empty:
            raise TimeoutError("the name lookup timed out") from None
        if isinstance(addresses, Exception):
            raise addresses
        return addresses

    def connect(self, host: str, port: int, *, seconds: float) -> socket.socket:
        """A watched connection to the first address of `host` that accepts one; `seconds` is the limit for each.

        Raises:
            OSError: none does, or the time is over.
            UnicodeError: `host` is no name.
        """
        failed: OSError = OSError("no address")
        for address in self.resolve(host, port):
            try:
                connection = socket.create_connection((address, port), self.remaining(seconds))
            except OSError as error:
                failed = error
            else:
                self.watch(connection)
                return connection
        raise failed

    def watch(self, connection: socket.socket) -> None:
        """Shut `connection` down when the time is over, at once if it is.

        Raises:
            OSError: it is closed.
        """
        # A second handle of the same connection: TLS takes over the first one, and its own shutdown would send in the
        # clear what follows.
        descriptor = socket.dup(connection.fileno())
        handle = socket.socket(connection.family, connection.type, connection.proto, fileno=descriptor)
        with self._lock:
            self._handles.append(handle)
            if self.has_passed:
                _shut(handle)

    def _cut(self) -> None:
        with self._lock:
            self.has_passed = True
            for handle in self._handles:
                _shut(handle)


def _shut(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
