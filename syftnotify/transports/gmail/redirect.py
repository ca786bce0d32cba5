"""Local server that receives the redirect at the end of an OAuth consent."""

from __future__ import annotations

import hmac
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_IDLE_SECONDS = 30  # after which a connection without a request is closed
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>syftnotify</title>
<p>The sign-in is finished. You can close this window.</p>
"""


class RedirectServer(ThreadingTCPServer):
    """HTTP server on a free port of 127.0.0.1 that accepts requests with the expected `state` only; others get 404.

    Each connection has its own thread, so that one without a request does not block the others.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = ""  # of the current consent; while it is empty, no request is accepted
        self._accepted: queue.SimpleQueue[str] = queue.SimpleQueue()

    @property
    def url(self) -> str:
        """The redirect URI."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def wait(self, seconds: float) -> str | None:
        """The URL of the redirect, with a code or an error; None if it did not arrive within `seconds`."""
        try:
            return self._accepted.get(timeout=seconds)
        except queue.Empty:
            return None

    def is_expected(self, target: str) -> bool:
        """Whether `target`, the path and query of a request, is the expected redirect."""
        try:
            parts = urlsplit(target)
            query = parse_qs(parts.query, max_num_fields=50)
        except ValueError:
            return False
        state = query.get("state", [""])[0]
        has_state = bool(self.state) and hmac.compare_digest(state.encode(), self.state.encode())
        return has_state and parts.path == "/" and not query.keys().isdisjoint({"code", "error"})

    def accept(self, target: str) -> None:
        """Let `wait` return the URL of `target`."""
        self._accepted.put(self.url + target.lstrip("/"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a connection, such as one that the browser closed early."""


class _Handler(BaseHTTPRequestHandler):
    server: RedirectServer
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        if not self.server.is_expected(self.path):
            self.send_error(404)
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(_PAGE)))
            self.end_headers()
            self.wfile.write(_PAGE)
        finally:  # after the page, because the program may end immediately
            self.server.accept(self.path)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the path contains the code."""


@contextmanager
def redirect_server() -> Iterator[RedirectServer]:
    """A running server, stopped at the end of the block."""
    with RedirectServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
