"""A wait that other threads and signal handlers can end."""

from __future__ import annotations

import contextlib
import select
import socket


class WakeupPipe:
    """Ends the wait of one thread.

    Unlike `threading.Event`, it is safe in signal handlers: a handler that interrupts the waiting thread would
    deadlock if it needed the lock that this thread holds.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """End the wait in progress, otherwise the next one."""
        with contextlib.suppress(OSError):  # full, so that the wait ends anyway; or closed
            self._writer.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, at most `seconds`."""
        select.select([self._reader], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
