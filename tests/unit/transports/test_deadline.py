"""Deadline: cuts connections and abandons name lookups when its time is over."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from syftnotify.transports.deadline import Deadline
from tests.fakes.mailserver import HOST, never_respond, serve_raw
from tests.support import wait_until


def test_deadline_with_a_hanging_name_lookup_ends_in_time() -> None:
    """B2: a resolver cannot be interrupted, so it is left behind."""
    release = threading.Event()

    def hangs(*_: Any, **__: Any) -> list[Any]:
        release.wait(60)
        return []

    try:
        with Deadline(0.1, getaddrinfo=hangs) as deadline, pytest.raises(TimeoutError):
            deadline.connect("mail.example", 25, seconds=10)
        assert not release.is_set()
    finally:
        release.set()


def test_deadline_connects_to_the_first_address_that_accepts() -> None:
    """B2: a name with several addresses."""
    with (
        serve_raw(lambda connection: connection.sendall(b"hello")) as server,
        socket.create_server((HOST, 0)) as closed,
    ):
        port = server.port
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (place, port)) for place in ("127.0.0.2", HOST)]
        closed.close()
        with Deadline(30, getaddrinfo=lambda *_, **__: found) as deadline:
            connection = deadline.connect("box.example", port, seconds=10)
            with connection:
                assert connection.recv(5) == b"hello"


def test_deadline_that_has_passed_cuts_new_connections() -> None:
    """B2: a connection that stands when the time is over already."""
    with serve_raw(never_respond) as server, Deadline(0.01) as deadline:
        wait_until(lambda: deadline.has_passed)
        with socket.create_connection((HOST, server.port), timeout=30) as connection:
            deadline.watch(connection)
            assert connection.recv(1) == b""


def test_deadline_that_was_met_cuts_nothing() -> None:
    """B2: a kept connection lives on after its conversation."""
    with serve_raw(lambda connection: connection.sendall(connection.recv(1))) as server:
        with Deadline(30) as deadline:
            connection = deadline.connect(HOST, server.port, seconds=10)
        with connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
