"""A TCP proxy that can cut, delay or silently drop what passes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TcpProxy:
    """Forwards connections to a port of this machine; its switches may be changed from any thread.

    Attributes:
        target: the port that it forwards to.
        port: the port of `listener`, or one of this machine.
        is_black_hole: nothing is forwarded any more, and no connection is closed.
        delay: seconds before each part is forwarded.
    """

    def __init__(self, target: int, listener: socket.socket | None = None) -> None:
        self.target = target
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_black_hole = False
        self.delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._is_ready.wait()

    def reset(self) -> None:
        """Reset all connections; they are closed when this returns."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result()

    def close(self) -> None:
        """Stop listening, and close all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _reset(self) -> None:
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listener))
        self._is_ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._reset())
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))  # in which the cancelled tasks end
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers |= {writer, to_writer}
            try:
                await asyncio.gather(self._forward(reader, to_writer), self._forward(to_reader, writer))
            finally:
                self._writers -= {writer, to_writer}
                to_writer.transport.abort()
        writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)  # the delay that the test asks for
            while self.is_black_hole:
                await asyncio.sleep(0.05)  # how long a test waits after the end of the black hole
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@contextmanager
def serve_proxy(target: int, listener: socket.socket | None = None) -> Iterator[TcpProxy]:
    """A proxy to `target`, until the end of the block."""
    proxy = TcpProxy(target, listener)
    try:
        yield proxy
    finally:
        proxy.close()
