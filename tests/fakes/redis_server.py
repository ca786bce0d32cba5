"""A server with the protocol of Redis (RESP2) and configurable replies, and a real redis-server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.mailserver import HOST, RawServer, serve_raw
from tests.fakes.ports import listen
from tests.support import wait_until

PROGRAM = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("SYFTNOTIFY_REQUIRES_REDIS"),
    reason="redis-server is not installed (Debian: redis-server)",
)
Reply = Callable[[socket.socket], None]


@dataclass
class RedisServer:
    """Answers each command with its entry of `replies`, otherwise with OK, or 1 for PUBLISH."""

    replies: dict[str, Reply] = field(default_factory=dict)  # by the name of the command
    commands: list[list[bytes]] = field(default_factory=list)
    server: RawServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while line := file.readline():
            command = []
            for _ in range(int(line[1:])):
                size = int(file.readline()[1:])
                command.append(file.read(size + 2)[:-2])
            name = command[0].decode()
            with self._lock:
                self.commands.append(command)
            usual = reply({"PUBLISH": ":1", "PING": "+PONG"}.get(name, "+OK"))
            self.replies.get(name, usual)(connection)

    @property
    def published(self) -> list[tuple[bytes, bytes]]:
        """Channel and message of each PUBLISH."""
        return [(command[1], command[2]) for command in list(self.commands) if command[0] == b"PUBLISH"]


def reply(line: str) -> Reply:
    """Answer with one line: `+OK`, `:1` or `-ERR text`."""
    return lambda connection: connection.sendall(f"{line}\r\n".encode())


@contextlib.contextmanager
def serve_redis() -> Iterator[RedisServer]:
    """Run the server for the duration of the block."""
    found = RedisServer()
    with serve_raw(found.handle) as server:
        found.server = server
        yield found


@contextlib.contextmanager
def run_redis(
    folder: Path, *options: str, port: int = 0, is_encrypted: bool = False, configuration: Path | None = None
) -> Iterator[int]:
    """Run a real redis-server for the duration of the block; yields its port, which is `port` if that is not 0."""
    assert PROGRAM is not None
    ready = folder / "redis.sock"  # opened after the port
    while True:
        with listen(port) as listener:
            chosen = int(listener.getsockname()[1])
        ready.unlink(missing_ok=True)
        ports = ["--port", "0", "--tls-port", str(chosen)] if is_encrypted else ["--port", str(chosen)]
        command = [
            PROGRAM,
            *([str(configuration)] if configuration else []),
            "--bind",
            HOST,
            *ports,
            "--unixsocket",
            str(ready),
            "--save",
            "",
            "--dir",
            str(folder),
        ]
        with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
            try:
                wait_until(partial(_is_settled, process, ready))
                if process.poll() is None:
                    yield chosen
                    return
                assert not port  # otherwise another program took the port meanwhile
            finally:
                process.terminate()


def _is_settled(process: subprocess.Popen[bytes], ready: Path) -> bool:
    return ready.exists() or process.poll() is not None
