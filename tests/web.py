"""A server of the API in a thread, and clients of it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from syftnotify.config.load import Settings
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.tokens import Role
from syftnotify.runtime.opening import create_outbox
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.services.server_settings import load_with_server
from syftnotify.services.sessions import start_session_by_token
from syftnotify.services.tokens import NewToken, create_token
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_status
from syftnotify.system.paths import Home
from syftnotify.web.access import RateLimits
from syftnotify.web.page.access import SESSION_COOKIE
from syftnotify.web.server import Server, listen
from syftnotify.web.stream import PING_SECONDS
from tests.support import ANA, OWNER, TIMEOUT, Box, wait_until

KIND = "JOB_FAILED"
PAYLOAD = {"job_id": "job-uuid", "workflow_id": "w1", "workflow_name": "Health Check", "error": "Timeout"}


@dataclass(slots=True)
class Served:
    """A server, and what belongs to it."""

    box: Box
    server: Server
    outbox: SqliteOutbox
    _end: ExitStack = field(default_factory=ExitStack)

    def token(self, role: str, user: str = ANA, *, expires_at: float | None = None) -> str:
        """The secret of a new token."""
        return self.created_token(role, user, expires_at=expires_at).secret

    def created_token(self, role: str, user: str, *, expires_at: float | None = None) -> NewToken:
        return create_token(self.outbox, user, Role(role), expires_at=expires_at)

    def client(self, role: str = "", user: str = ANA) -> httpx.Client:
        """A client with a token of `role`; without a role, with none."""
        headers = {"Authorization": f"Bearer {self.token(role, user)}"} if role else {}
        client = httpx.Client(base_url=self.server.url, headers=headers, timeout=TIMEOUT, trust_env=False)
        return self._end.enter_context(client)

    def visitor(self, role: str = "operator", user: str = OWNER) -> httpx.Client:
        """A client that is signed in to the page, as a browser is."""
        client = self.client()
        session = start_session_by_token(self.outbox, self.created_token(role, user).token)
        # A cookie of this name needs https, of which a browser makes an exception for this machine.
        client.headers.update({"Cookie": f"{SESSION_COOKIE}={session}", "Sec-Fetch-Site": "same-origin"})
        return client

    def store(self, count: int = 1, user: str = ANA, kind: str = KIND, **payload: Any) -> list[str]:
        """Store notifications of `user`; returns their ids."""
        new = NewNotification(user, kind, {**PAYLOAD, **payload})
        return [create_notification(self.outbox, new).id for _ in range(count)]


@contextmanager
def in_thread(settings: Settings, outbox: OutboxStore, **options: Any) -> Iterator[Server]:
    """A server in a thread, until the end of the block; `options` are those of `Server`."""
    with listen(settings) as listener, Server(settings, outbox, listener, **options) as server:
        thread = threading.Thread(target=server.run, name="serve", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(TIMEOUT)


@contextmanager
def serve(
    box: Box,
    *,
    config: Mapping[str, Any] | None = None,
    ping_seconds: float = PING_SECONDS,
    request_seconds: float = TIMEOUT,
    limits: RateLimits | None = None,
    **settings: Any,
) -> Iterator[Served]:
    """A server of `box` with these settings in the section `serve`, and `config` beside it, on any free port."""
    box.configure({"serve": {"port": 0, **settings}, **(config or {})})
    with (
        create_outbox(box.home) as outbox,
        in_thread(
            load_with_server(box.home, {}),
            outbox,
            ping_seconds=ping_seconds,
            request_seconds=request_seconds,
            limits=limits,
        ) as server,
        ExitStack() as end,
    ):
        assert isinstance(outbox, SqliteOutbox)
        yield Served(box, server, outbox, end)


def records(response: httpx.Response) -> list[Mapping[str, Any]]:
    """The notifications of a page."""
    assert response.status_code == 200, response.text
    found: list[Mapping[str, Any]] = response.json()["notifications"]
    return found


def csrf_of(client: httpx.Client) -> str:
    """The secret of the forms of a session."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/ui/inbox").text)
    assert found is not None
    return found[1]


def submit(client: httpx.Client, path: str, **fields: Any) -> httpx.Response:
    """Submit a form of the page; the redirect after it is not followed."""
    return client.post(f"/ui/{path}", data={"csrf": csrf_of(client), **fields})


def worker_url(box: Box) -> str:
    """The address of the API of the worker of `box`, which serves or will do so soon."""
    return str(wait_until(lambda: worker_status.read(box.home).api, what="the server"))


@contextmanager
def serve_process(
    home: Home, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`notify serve` in a process with this environment, by default that of this one; and its address."""
    command = [sys.executable, "-m", "syftnotify", "--home", str(home.root), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://[\d.]+:\d+", line)
            assert found, line
            yield process, found[0]
        finally:
            process.kill()
