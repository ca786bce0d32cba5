"""Many clients of the live stream in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from syftnotify.web.page.access import SESSION_COOKIE
from tests.support import TIMEOUT, wait_until

_CONNECTING = 50  # connections opened at the same time
_SPARE_FILES = 500


STREAM = "/v1/notifications/stream"


class Reader:
    """Reads a stream in a thread."""

    def __init__(self, client: httpx.Client, last_id: str = "") -> None:
        self.messages: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.is_connected = threading.Event()
        self.has_ended = threading.Event()
        self._client = client
        self._headers = {"Last-Event-ID": last_id} if last_id else {}
        threading.Thread(target=self._read, daemon=True).start()
        assert self.is_connected.wait(60)

    def _read(self) -> None:
        try:
            with self._client.stream("GET", STREAM, headers=self._headers, timeout=None) as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if line == ": connected":
                        self.is_connected.set()
                    elif name == "id":
                        self.ids.append(value)
                    elif name == "data":
                        self.messages.append(json.loads(value))
        except httpx.HTTPError:
            pass
        finally:
            self.has_ended.set()


@dataclass
class StreamClient:
    """One client, and what it has received over all its connections."""

    secret: str
    ids: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of `time.perf_counter`, by event
    is_connected: bool = False


class StreamClients:
    """Clients with these secrets. A client that connects again continues after its last event."""

    def __init__(self, secrets: Sequence[str], *, is_page: bool = False) -> None:
        """`is_page`: the secrets are those of sessions, and the stream is that of the page."""
        self._path = "/ui/inbox/stream" if is_page else "/v1/notifications/stream"
        self._credentials = f"Cookie: {SESSION_COOKIE}=" if is_page else "Authorization: Bearer "
        self.clients = [StreamClient(secret) for secret in secrets]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._readers: list[asyncio.Task[None]] = []

    def connect(self, url: str) -> None:
        """Open a stream for each client; returns when all are connected."""
        self._run(self._connect_all(url))

    @property
    def connected(self) -> int:
        return sum(client.is_connected for client in self.clients)

    def wait_for(self, count: int) -> None:
        """Wait until each client has received `count` events since the beginning."""
        wait_until(lambda: all(len(client.ids) >= count for client in self.clients), what=f"{count} events")

    def wait_for_end(self) -> None:
        """Wait until the server has ended all connections."""
        wait_until(lambda: not self.connected, what="the end of all streams")

    def close(self) -> None:
        self._run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT)

    async def _connect_all(self, url: str) -> None:
        address = urlsplit(url)
        permits = asyncio.Semaphore(_CONNECTING)

        async def connect(client: StreamClient) -> None:
            async with permits:
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                lines = [
                    f"GET {self._path} HTTP/1.1",
                    f"Host: {address.netloc}",
                    f"{self._credentials}{client.secret}",
                    *([f"Last-Event-ID: {client.ids[-1]}"] if client.ids else []),
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode())
                while (line := await reader.readline()).strip() != b": connected":
                    assert line, "the server closed the connection"
                client.is_connected = True
                self._readers.append(asyncio.create_task(_read(client, reader, writer)))

        await asyncio.gather(*map(connect, self.clients))

    async def _cancel_all(self) -> None:
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


async def _read(client: StreamClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            name, _, value = line.decode().strip().partition(": ")
            if name == "id":
                client.ids.append(value)
                client.times.append(time.perf_counter())
    except OSError:
        pass
    finally:
        client.is_connected = False
        writer.close()


@contextlib.contextmanager
def stream_clients(secrets: Sequence[str], *, is_page: bool = False) -> Iterator[StreamClients]:
    """The clients, until the end of the block."""
    count = len(secrets) + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    clients = StreamClients(secrets, is_page=is_page)
    try:
        yield clients
    finally:
        clients.close()


def may_open_files(count: int) -> bool:
    """Whether the system lets this process open `count` files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard == resource.RLIM_INFINITY or hard >= count
