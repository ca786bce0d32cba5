"""Live streams of notifications: server-sent events.

One task reads what is stored, by any process, and passes it to the streams of its recipient. A stream that is too slow
is closed; its client continues with `Last-Event-ID`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from syftnotify.core.cluster import Channel, Cluster, WorkerMode
from syftnotify.core.errors import NotifyError
from syftnotify.core.inbox import InboxBatch, InboxEntry, pushed_object
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.cursors import prepare_cursors
from syftnotify.services.sessions import valid_token_ids
from syftnotify.system.logs import level_of_failures
from syftnotify.web.problems import problem

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.03
# For a database that several servers share: what is stored is announced, and this finds what was not.
_SHARED_POLL_SECONDS = 0.25
PING_SECONDS = 15.0  # proxies close connections without data
_RETRY_SECONDS = 1.0
_CHECK_SECONDS = 1.0  # between two checks whether the database was replaced
_CHUNK = 200  # notifications read at once
_MAX_QUEUED = 2 * 1024 * 1024  # bytes that wait for one client
MAX_COUNT = 1000  # of unread notifications; above it the page shows "999+"
MAX_STREAMS = 2000  # open at once with one token
_PING = b": ping\n\n"
_Frame = tuple[int, bytes]  # position; 0: a ping


class Format(Protocol):
    """How a stream shows notifications. Equal formats share what they made."""

    def data(self, entry: InboxEntry, unread: int) -> Mapping[str, Any]:
        """The JSON object of a notification; `unread` is the number of all unread ones of the person."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ApiFormat:
    """The format of the API."""

    def data(self, entry: InboxEntry, unread: int) -> Mapping[str, Any]:  # noqa: ARG002 - for others
        return pushed_object(entry)


def _frame(entry: InboxEntry, format_: Format, unread: int) -> bytes:
    # JSON has no line breaks, so it is one line of data.
    return f"id: {entry.id}\ndata: {json.dumps(format_.data(entry, unread))}\n\n".encode()


class _Subscription:
    """The frames that wait for one client; None ends the stream."""

    def __init__(self, user: str, token_id: str, format_: Format) -> None:
        self.user = user
        self.token_id = token_id  # empty: a proxy names the person
        self.format = format_
        self._frames = asyncio.Queue[_Frame | None]()
        self._size = 0  # bytes

    def add(self, frame: _Frame | None) -> None:
        self._size += len(frame[1]) if frame is not None else 0
        if self._size > _MAX_QUEUED:  # the client is too slow
            while not self._frames.empty():
                self._frames.get_nowait()
            frame = None
        self._frames.put_nowait(frame)

    async def get(self) -> list[_Frame | None]:
        """All frames that wait, at least one."""
        found = [await self._frames.get()]
        while not self._frames.empty() and found[-1] is not None:
            found.append(self._frames.get_nowait())
        self._size = 0
        return found


class StreamHub:
    """Distributes stored notifications to the open streams. All methods are for the event loop."""

    def __init__(
        self,
        outbox: OutboxStore,
        is_stopping: Callable[[], bool],
        *,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        """When the server `is_stopping`, all streams end: it waits for them before it ends."""
        self._outbox = outbox
        self._is_stopping = is_stopping
        self._ping_seconds = ping_seconds  # between two pings, which also end the streams of tokens that ended
        self._subscriptions: dict[str, set[_Subscription]] = {}  # by user
        self._position: int | None = None
        self._is_closed = False
        self._wake = asyncio.Event()
        self._poll_seconds = _POLL_SECONDS if outbox.cluster is None else _SHARED_POLL_SECONDS

    async def run(self) -> None:
        """Distribute until `close` is called."""
        pinged_at = checked_at = asyncio.get_running_loop().time()
        while not self._is_closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
            self._wake.clear()
            if self._is_stopping():
                self.close()
                return
            now = asyncio.get_running_loop().time()
            try:
                if now - checked_at >= _CHECK_SECONDS:
                    checked_at = now
                    if await asyncio.to_thread(self._outbox.reopen_if_replaced):
                        await self._restart()
                await self._distribute()
                if now - pinged_at >= self._ping_seconds:
                    pinged_at = now
                    await self._ping()
            except NotifyError as error:
                log.log(level_of_failures(self._outbox.cluster), "the streams wait: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)  # until the database may be usable again
            except Exception:  # the outermost loop of the streams: they must not end with one error
                log.exception("the streams wait")
                await asyncio.sleep(_RETRY_SECONDS)  # likewise

    async def join_cluster(self, cluster: Cluster) -> None:
        """Read what other processes announce, without waiting for the next poll. Raises: StateError."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake.set)

        cluster.listen(Channel.INBOX, wake)
        await asyncio.to_thread(cluster.join, WorkerMode.SERVE)

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        for subscription in self._all():
            subscription.add(None)
        self._wake.set()

    async def _restart(self) -> None:
        """Begin again with another database, whose positions are others; clients connect again."""
        self._position = None
        for subscription in self._all():
            subscription.add(None)
        await asyncio.to_thread(prepare_cursors, self._outbox)

    def count(self, token_id: str) -> int:
        """The number of open streams of a token."""
        return sum(each.token_id == token_id for each in self._all())

    async def subscribe(self, user: str, token_id: str, format_: Format) -> _Subscription:
        """From the return on, all that is stored for `user` reaches the subscription."""
        subscription = _Subscription(user, token_id, format_)
        self._subscriptions.setdefault(user, set()).add(subscription)
        if self._is_closed:
            subscription.add(None)
        await self._find_position()
        return subscription

    def unsubscribe(self, subscription: _Subscription) -> None:
        of_user = self._subscriptions.get(subscription.user, set())
        of_user.discard(subscription)
        if not of_user:
            self._subscriptions.pop(subscription.user, None)

    async def backlog(self, user: str, position: int) -> InboxBatch:
        """The next notifications of `user` after a position, at most `_CHUNK`."""
        return await asyncio.to_thread(self._outbox.inbox.after, position, _CHUNK, user)

    async def count_unread(self, user: str) -> int:
        """The number of unread notifications of `user`, at most `MAX_COUNT`."""
        return await asyncio.to_thread(self._outbox.inbox.count_unread, user, MAX_COUNT)

    async def position_of(self, user: str, entry_id: str) -> int | None:
        """The position of a notification of `user`; None if there is no such one."""
        entry = await asyncio.to_thread(self._outbox.inbox.find, user, entry_id)
        return None if entry is None else entry.position

    async def last_position(self) -> int:
        """The position of the last notification of all persons; 0: there is none."""
        return await asyncio.to_thread(self._outbox.inbox.position) or 0

    def _all(self) -> list[_Subscription]:
        return [each for of_user in self._subscriptions.values() for each in of_user]

    async def _distribute(self) -> None:
        if self._subscriptions:
            await self._find_position()
        while self._subscriptions and self._position is not None:
            batch = await asyncio.to_thread(self._outbox.inbox.after, self._position, _CHUNK)
            unread = {
                user: await self.count_unread(user)
                for user in {entry.recipient for entry in batch.entries} & self._subscriptions.keys()
            }
            for entry in batch.entries:
                frames: dict[Format, bytes] = {}
                for subscription in self._subscriptions.get(entry.recipient, ()):
                    format_ = subscription.format
                    if format_ not in frames:
                        frames[format_] = _frame(entry, format_, unread[entry.recipient])
                    subscription.add((entry.position, frames[format_]))
            if batch.position is not None:
                self._position = batch.position
            if not batch.has_more:
                return
        self._position = None  # without streams, the next one begins at the end

    async def _find_position(self) -> None:
        if self._position is None:
            position = await self.last_position()
            if self._position is None:  # another task may have found it
                self._position = position

    async def _ping(self) -> None:
        valid = {"", *await asyncio.to_thread(valid_token_ids, self._outbox)}
        for subscription in self._all():
            subscription.add((0, _PING) if subscription.token_id in valid else None)


class EventStream(Response):
    """The response that streams the notifications of one person until the client or the server ends it."""

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: StreamHub,
        user: str,
        token_id: str,
        last_id: str,
        format_: Format = ApiFormat(),
        *,
        is_complete: bool = False,
    ) -> None:
        """`last_id` is the id of the last notification that the client has.

        If it is empty, only new ones are sent, or with `is_complete` all of them.
        """
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub = hub
        self._user = user
        self._token_id = token_id
        self._last_id = last_id
        self._format = format_
        self._is_complete = is_complete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hub.count(self._token_id) >= MAX_STREAMS:
            await problem(HTTPStatus.TOO_MANY_REQUESTS, f"this token has {MAX_STREAMS} open streams")(
                scope, receive, send
            )
            return
        # First of all, so that nothing is stored between the backlog and the live frames.
        subscription = await self._hub.subscribe(self._user, self._token_id, self._format)
        watch = asyncio.create_task(_wait_for_disconnect(receive))
        watch.add_done_callback(lambda _: subscription.add(None))
        try:
            position = await self._hub.position_of(self._user, self._last_id) if self._last_id else None
            if position is None:  # a new client, or its last notification is not kept any more
                position = 0 if self._is_complete and not self._last_id else await self._hub.last_position()
            headers = [header for header in self.raw_headers if header[0] != b"content-length"]
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": b": connected\n\n", "more_body": True})
            await self._send_frames(subscription, position, send)
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watch.cancel()
            self._hub.unsubscribe(subscription)

    async def _send_frames(self, subscription: _Subscription, position: int, send: Send) -> None:
        has_more = True
        while has_more:
            batch = await self._hub.backlog(self._user, position)
            position, has_more = batch.position or position, batch.has_more
            unread = await self._hub.count_unread(self._user) if batch.entries else 0
            for entry in batch.entries:
                await _send(send, _frame(entry, self._format, unread))
        while True:
            parts = await subscription.get()
            new = [part for part in parts if part is not None and (part[0] > position or not part[0])]
            position = max([position, *(seq for seq, _ in new)])
            if new:
                await _send(send, b"".join(frame for _, frame in new))
            if parts[-1] is None:
                return


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
