"""Ports of stopped servers. Tests run in parallel, and a free port is soon that of another test's server."""

from __future__ import annotations

import os
import socket

_reserved: dict[int, int] = {}  # descriptors by port, open until the end of the process


def listen(port: int = 0) -> socket.socket:
    """A listening socket of this machine; 0: on any free port. One of `refuse_connections` may be used again."""
    if port in _reserved:
        os.close(_reserved.pop(port))
    listener = socket.socket()
    # Where the port is chosen here, not even a socket with this option may share it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0))
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def refuse_connections(listener: socket.socket) -> None:
    """Refuse connections to a socket of `listen`, also when it is closed: no other server gets its port."""
    _reserved[int(listener.getsockname()[1])] = os.dup(listener.fileno())
    listener.shutdown(socket.SHUT_RDWR)


def closed_port() -> int:
    """A port of this machine that refuses connections, also later."""
    with listen() as listener:
        refuse_connections(listener)
        return int(listener.getsockname()[1])
