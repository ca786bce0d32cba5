"""A server on this machine that receives the redirect at the end of an OAuth consent."""

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

_IDLE_SECONDS = 30  # until a connection that sends no request is closed
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>syftnotify</title>
<p>The sign-in is finished. You can close this window.</p>
"""


class RedirectServer(ThreadingTCPServer):
    """Waits for one request with the expected `state`. Any other one is answered with an error and has no effect.

    Each connection has its own thread: one that stays open without a request does not block the others.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = ""  # of the consent under way; empty accepts nothing
        self._accepted: queue.SimpleQueue[str] = queue.SimpleQueue()

    @property
    def url(self) -> str:
        """The redirect URI."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def wait(self, seconds: float) -> str | None:
        """The address of the redirect with its code or its error; None when it did not come in time."""
        try:
            return self._accepted.get(timeout=seconds)
        except queue.Empty:
            return None

    def is_expected(self, target: str) -> bool:
        """Whether a request for `target` is the redirect that is waited for."""
        try:
            parts = urlsplit(target)
            query = parse_qs(parts.query, max_num_fields=50)
        except ValueError:
            return False
        state = query.get("state", [""])[0]
        is_ours = bool(self.state) and hmac.compare_digest(state.encode(), self.state.encode())
        return is_ours and parts.path == "/" and not query.keys().isdisjoint({"code", "error"})

    def accept(self, target: str) -> None:
        """End the waiting with `target`."""
        self._accepted.put(self.url + target.lstrip("/"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that breaks off."""


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
        finally:  # after the page: the program may end at once
            self.server.accept(self.path)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """The path contains the code."""


@contextmanager
def redirect_server() -> Iterator[RedirectServer]:
    """A server that runs while the block does."""
    with RedirectServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
