"""A mail server based on aiosmtpd, with configurable faults at each step of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.fakes.ports import listen, refuse_connections
from tests.support import TIMEOUT

HOST = "127.0.0.1"
USER = "notifier"
# Part of the password of this server: a text without it does not contain the password.
SECRET = "secret-of-"
PASSWORD = f"{SECRET}the-mailbox"

_NO_REPLY = "\0no reply"
_DRIP_SECONDS = 0.2  # between two bytes

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # `commands_by_connection` has the same


@dataclass(frozen=True, slots=True)
class Committed:
    """One message that the server accepted."""

    sender: str
    recipients: tuple[str, ...]
    source: bytes
    user: str  # the authenticated user, or empty
    is_encrypted: bool
    connection: int  # from 0

    @property
    def mail(self) -> EmailMessage:
        return BytesParser(policy=default).parsebytes(self.source)

    @property
    def to(self) -> str:
        return str(self.mail["To"])

    @property
    def subject(self) -> str:
        return str(self.mail["Subject"])

    @property
    def id(self) -> str:
        """The part of Message-ID before the @."""
        return str(self.mail["Message-ID"]).strip("<>").partition("@")[0]

    @property
    def text(self) -> str:
        """The plain text part; empty if there is only HTML."""
        part = self.mail.get_body(("plain",))
        return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""

    @property
    def html(self) -> str:
        part = self.mail.get_body(("html",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def event(self) -> str:
        return str(self.mail["X-SyftNotify-Event"])


class Connection(SMTP):
    """One connection: records each command, and runs the configured action instead of aiosmtpd's method."""

    def __init__(self, server: MailServer) -> None:
        super().__init__(
            _Handler(),
            hostname="mail.test",
            loop=server.loop,
            data_size_limit=None,
            tls_context=server.tls if server.starttls else None,
            auth_require_tls=False,  # `allows_auth` decides: aiosmtpd does not count implicit TLS as encryption
            authenticator=server.authenticate,
            auth_exclude_mechanism={"PLAIN", "LOGIN"} - server.mechanisms,
        )
        self.server = server
        self.number = len(server.commands_by_connection)
        self.commands: list[str] = []
        server.commands_by_connection.append(self.commands)
        self._has_greeted = False
        for name, method in list(self._smtp_methods.items()):
            self._smtp_methods[name] = functools.partial(self._handle, name, method)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        with contextlib.suppress(AssertionError):  # raised by aiosmtpd if the connection ended during the handshake
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        super().eof_received()
        return False  # do not keep half-closed connections

    @property
    def is_encrypted(self) -> bool:
        return self._tls_protocol is not None or (self.server.tls is not None and not self.server.starttls)

    @property
    def allows_auth(self) -> bool:
        return bool(self.server.users) and (self.is_encrypted or self.server.tls is None)

    async def push(self, status: str | bytes) -> None:
        if not self._has_greeted:
            self._has_greeted = True
            if (act := self.server.next_action("greeting")) is not None:
                await act(self)
                return
        if status != _NO_REPLY:
            await super().push(status.encode() if isinstance(status, str) else status)

    async def _handle(self, name: str, method: Callable[[str | None], Awaitable[None]], argument: str | None) -> None:
        # Of an AUTH command only the mechanism is recorded, not the credentials.
        recorded = (argument or "").split(" ")[0] if name == "AUTH" else argument or ""
        # Keywords are case-insensitive (RFC 5321, 2.4): Python 3.13 writes `MAIL from:`, earlier versions `FROM:`.
        keyword, colon, rest = recorded.partition(":")
        recorded = keyword.upper() + colon + rest if name in {"MAIL", "RCPT"} else recorded
        self.commands.append(f"{name} {recorded}".rstrip())
        if (act := self.server.next_action(name)) is not None:
            await act(self)
        elif name == "MAIL" and self.server.users and not (self.session and self.session.authenticated):
            await self.push("530 5.7.0 Authentication required")
        elif name == "DATA" and (act := self.server.next_action("body")) is not None:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            await self._reader.readline()
            await act(self)
        else:
            await method(argument)

    def commit(self) -> None:
        """Accept the message."""
        envelope, session = self.envelope, self.session
        assert envelope is not None
        assert session is not None
        assert isinstance(envelope.content, bytes)
        user = session.auth_data.login.decode() if session.auth_data else ""
        self.server.committed.append(
            Committed(
                envelope.mail_from or "",
                tuple(envelope.rcpt_tos),
                envelope.content,
                user,
                self.is_encrypted,
                self.number,
            )
        )

    async def write(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    def disconnect(self, *, reset: bool = False) -> None:
        """Close the connection, by FIN or by RST."""
        # The TCP transport: closing the TLS transport would wait for the client's close_notify.
        transport = self._original_transport or self.transport
        if not isinstance(transport, asyncio.WriteTransport):
            return
        connection = transport.get_extra_info("socket") if reset else None
        if connection is not None:
            with contextlib.suppress(OSError):  # the client closed it first
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()


Action = Callable[[Connection], Coroutine[Any, Any, None]]


class _Handler:
    """The handler of aiosmtpd."""

    async def handle_EHLO(  # noqa: N802 - name of aiosmtpd
        self, connection: Connection, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if connection.allows_auth or not line.startswith("250-AUTH")]

    async def handle_DATA(self, connection: Connection, session: Session, envelope: Envelope) -> str:  # noqa: N802 - name of aiosmtpd
        connection.commands.append(".")
        if (act := connection.server.next_action("dot")) is not None:
            await act(connection)
            return _NO_REPLY
        connection.commit()
        return f"250 2.0.0 queued as {len(connection.server.committed)}"


@dataclass(slots=True)
class MailServer:
    """The accepted messages and the configured faults.

    At each step the next of its `actions` runs, then its `default`; without either, aiosmtpd handles the command. Steps
    are `greeting`, the commands, `body` (the message has begun, its final dot was not read) and `dot` (it was read).
    `users` maps names to passwords: clients must authenticate; without users, AUTH is not offered.
    """

    tls: ssl.SSLContext | None = None
    starttls: bool = True  # with `tls`: STARTTLS, otherwise implicit TLS
    users: dict[str, str] = field(default_factory=dict)
    mechanisms: set[str] = field(default_factory=lambda: {"PLAIN", "LOGIN"})
    receive_buffer: int | None = None  # bytes; small, so that a large message does not fit into buffers
    port: int = 0  # any free port
    commands_by_connection: list[list[str]] = field(default_factory=list)  # in the order of the connections
    committed: list[Committed] = field(default_factory=list)
    connections: set[Connection] = field(default_factory=set)  # open ones
    actions: dict[str, deque[Action | None]] = field(default_factory=dict)
    default: dict[str, Action] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None
    _server: asyncio.AbstractServer | None = None
    _listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = listener = listen(self.port)
        if self.receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.port = listener.getsockname()[1]
        self.loop.set_exception_handler(lambda _loop, _context: None)  # connections that a test closed
        self._thread = threading.Thread(target=self.loop.run_forever, name="mail server", daemon=True)
        self._thread.start()

        async def serve() -> asyncio.AbstractServer:
            implicit_tls: dict[str, Any] = (
                {} if self.starttls or self.tls is None else {"ssl": self.tls, "ssl_shutdown_timeout": 0.1}
            )
            return await self.loop.create_server(lambda: Connection(self), sock=listener, **implicit_tls)

        self._server = self._run(serve())

    def stop(self) -> None:
        """Stop the server and reset all open connections."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None

        async def end() -> None:
            assert self._server is not None
            assert self._listener is not None
            refuse_connections(self._listener)
            self._server.close()
            for connection in list(self.connections):
                connection.disconnect(reset=True)
            tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        thread.join()
        self.loop.close()

    def drop_connections(self) -> None:
        """Close every open connection, as a server does after its idle timeout; returns when they are closed."""

        async def drop() -> None:
            for connection in list(self.connections):
                connection.disconnect()
            while self.connections:
                await asyncio.sleep(0.01)  # interval of polling

        self._run(drop())

    def next_action(self, step: str) -> Action | None:
        """Take the action for `step`; None means the default behaviour."""
        queued = self.actions.get(step)
        return queued.popleft() if queued else self.default.get(step)

    def once(self, step: str, *actions: Action | None) -> None:
        """Queue `actions` for the next times that `step` is reached."""
        self.actions.setdefault(step, deque()).extend(actions)

    def clear_faults(self) -> None:
        """Remove all actions."""
        self.actions.clear()
        self.default.clear()

    def authenticate(self, connection: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        is_valid = self.users.get(given.login.decode()) == given.password.decode()
        return AuthResult(success=is_valid, handled=False, auth_data=given)

    @property
    def commands(self) -> list[str]:
        """Every command of every connection."""
        return [command for connection in self.commands_by_connection for command in connection]

    @property
    def attempts(self) -> int:
        """The number of MAIL commands."""
        return sum(command.startswith("MAIL") for command in self.commands)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=TIMEOUT)


@contextlib.contextmanager
def serve_mail(tls: ssl.SSLContext | None = None, **settings: Any) -> Iterator[MailServer]:
    """Run the server for the duration of the block."""
    server = MailServer(tls, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


# -- certificates ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authority:
    """A private certificate authority with its certificate in a file."""

    ca: trustme.CA
    file: Path

    def context(self, *names: str) -> ssl.SSLContext:
        """The TLS context of a server with a certificate for `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or (HOST, "localhost"))).configure_cert(context)
        return context


def create_authority(folder: Path) -> Authority:
    """Create an authority; its certificate is written to `folder`."""
    authority = Authority(trustme.CA(), folder / "ca.pem")
    authority.ca.cert_pem.write_to_path(str(authority.file))
    return authority


# -- actions -----------------------------------------------------------------------------------------------------


def reply(*lines: str) -> Action:
    """Send one reply of these lines."""

    async def action(connection: Connection) -> None:
        await connection.write("".join(f"{line}\r\n" for line in lines).encode())

    return action


def reply_and_close(line: str) -> Action:
    """Send a reply and close the connection."""
    return sequence(reply(line), close_connection)


async def close_connection(connection: Connection) -> None:
    """Close the connection without a reply."""
    connection.disconnect()


async def reset_connection(connection: Connection) -> None:
    """Reset the connection without a reply."""
    connection.disconnect(reset=True)


async def hang(connection: Connection) -> None:
    """Send no reply until the client disconnects."""
    await asyncio.Event().wait()


async def send_garbage(connection: Connection) -> None:
    """Send a line that is not an SMTP reply."""
    await connection.write(b"HTTP/1.1 400 Bad Request\r\n")


async def drip(connection: Connection) -> None:
    """Send an endless reply byte by byte, so that no single read times out."""
    for byte in itertools.chain(b"250-", itertools.repeat(ord("."))):
        await connection.write(bytes([byte]))
        await asyncio.sleep(_DRIP_SECONDS)  # part of the fault


async def reply_with_password(connection: Connection) -> None:
    """Reject AUTH with a reply that contains the password."""
    await connection.write(f"535 5.7.8 {' '.join(connection.server.users.values())} is wrong\r\n".encode())


async def commit(connection: Connection) -> None:
    """Accept the message without a reply."""
    connection.commit()


def sequence(*actions: Action) -> Action:
    """Run actions one after the other."""

    async def action(connection: Connection) -> None:
        for each in actions:
            await each(connection)

    return action


# -- TCP ---------------------------------------------------------------------------------------------------------


class RawServer:
    """A TCP server that handles each connection in its own thread."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.stopped = threading.Event()
        self.port = int(self._listener.getsockname()[1])
        self.max_open = 0  # maximum of connections open at once
        self._accepting = threading.Thread(target=self._accept, name="raw server", daemon=True)
        self._accepting.start()

    @property
    def open_count(self) -> int:
        """The number of open connections."""
        with self._lock:
            return len(self._open)

    def stop(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # stopped
                return
            with self._lock:
                self._open.add(connection)
                self.max_open = max(self.max_open, len(self._open))
            thread = threading.Thread(target=self._serve, args=[connection], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self._handle(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


@contextlib.contextmanager
def serve_raw(handle: Callable[[socket.socket], None]) -> Iterator[RawServer]:
    """Run a TCP server for the duration of the block."""
    server = RawServer(handle)
    try:
        yield server
    finally:
        server.stop()


def never_respond(connection: socket.socket) -> None:
    """Read everything and never respond."""
    while connection.recv(65536):
        pass


def ids(mails: Sequence[Committed]) -> list[str]:
    """The ids of `mails`, in order."""
    return [mail.id for mail in mails]
