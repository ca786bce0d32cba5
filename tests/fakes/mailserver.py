"""A mail server on this machine, as real as aiosmtpd makes it; where it is told to, it does the wrong thing."""

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

from tests.support import PATIENCE

HOST = "127.0.0.1"
USER = "notifier"
# What the password of this server contains, so that one look at a text tells whether any of it is there.
SECRET = "secret-of-"
PASSWORD = f"{SECRET}the-mailbox"

_NOTHING = "\0nothing more is said"
_DRIP_SECONDS = 0.2  # between two bytes

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's own lines say what `talks` says


@dataclass(frozen=True, slots=True)
class Committed:
    """One message that the server took on, as it would travel further."""

    sender: str
    recipients: tuple[str, ...]
    source: bytes
    user: str  # who had signed in, or empty
    is_encrypted: bool
    talk: int  # on which connection it came, from 0

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
        """What stands before the @ of its Message-ID."""
        return str(self.mail["Message-ID"]).strip("<>").partition("@")[0]

    @property
    def text(self) -> str:
        """Empty where there is HTML alone."""
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


class Talk(SMTP):
    """One connection: each command is noted, and may be answered by an act of the test's instead of by aiosmtpd."""

    def __init__(self, server: MailServer) -> None:
        super().__init__(
            _Desk(),
            hostname="mail.test",
            loop=server.loop,
            data_size_limit=None,
            tls_context=server.tls if server.starttls else None,
            auth_require_tls=False,  # aiosmtpd counts STARTTLS alone as encryption; `_may_sign_in` knows both
            authenticator=server.authenticated,
            auth_exclude_mechanism={"PLAIN", "LOGIN"} - server.mechanisms,
        )
        self.server = server
        self.number = len(server.talks)
        self.commands: list[str] = []
        server.talks.append(self.commands)
        self._has_greeted = False
        for name, method in list(self._smtp_methods.items()):
            self._smtp_methods[name] = functools.partial(self._obey, name, method)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        with contextlib.suppress(AssertionError):  # aiosmtpd's, of a connection that ended during the handshake
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        super().eof_received()
        return False  # who closed one half is gone

    @property
    def is_encrypted(self) -> bool:
        return self._tls_protocol is not None or (self.server.tls is not None and not self.server.starttls)

    @property
    def may_sign_in(self) -> bool:
        return bool(self.server.users) and (self.is_encrypted or self.server.tls is None)

    async def push(self, status: str | bytes) -> None:
        if not self._has_greeted:
            self._has_greeted = True
            if (act := self.server.act("greeting")) is not None:
                await act(self)
                return
        if status != _NOTHING:
            await super().push(status.encode() if isinstance(status, str) else status)

    async def _obey(self, name: str, method: Callable[[str | None], Awaitable[None]], argument: str | None) -> None:
        # What an AUTH command carries is noted by its mechanism alone.
        said = (argument or "").split(" ")[0] if name == "AUTH" else argument or ""
        # SMTP keywords have no case (RFC 5321, 2.4): smtplib of Python 3.13 writes `MAIL from:`, earlier ones `FROM:`.
        keyword, colon, rest = said.partition(":")
        said = keyword.upper() + colon + rest if name in {"MAIL", "RCPT"} else said
        self.commands.append(f"{name} {said}".rstrip())
        if (act := self.server.act(name)) is not None:
            await act(self)
        elif name == "MAIL" and self.server.users and not (self.session and self.session.authenticated):
            await self.push("530 5.7.0 Authentication required")
        elif name == "DATA" and (act := self.server.act("body")) is not None:
            await self.push("354 go on")
            await self._reader.readline()
            await act(self)
        else:
            await method(argument)

    def commit(self) -> None:
        """Take the message on."""
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

    def hang_up(self, *, reset: bool = False) -> None:
        """End the connection, by FIN or by RST."""
        # Below STARTTLS: above it, closing would wait for a farewell that a client owes nobody.
        transport = self._original_transport or self.transport
        if not isinstance(transport, asyncio.WriteTransport):
            return
        connection = transport.get_extra_info("socket") if reset else None
        if connection is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()


Act = Callable[[Talk], Coroutine[Any, Any, None]]


class _Desk:
    """Where aiosmtpd asks what to do with a message."""

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, talk: Talk, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if talk.may_sign_in or not line.startswith("250-AUTH")]

    async def handle_DATA(self, talk: Talk, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        talk.commands.append(".")
        if (act := talk.server.act("dot")) is not None:
            await act(talk)
            return _NOTHING
        talk.commit()
        return f"250 2.0.0 taken as {len(talk.server.committed)}"


@dataclass(slots=True)
class MailServer:
    """The server's memory, and what it is told to do instead of the right thing.

    `acts` are used up one a step; after them holds what `usual` says for the step; without either aiosmtpd does what a
    mail server does. Steps are `greeting`, the commands, `body` (the message has begun, its final dot was not read) and
    `dot` (it was). `users` with their passwords must sign in; without any, nobody can.
    """

    tls: ssl.SSLContext | None = None
    starttls: bool = True  # else encrypted from the start, if at all
    users: dict[str, str] = field(default_factory=dict)
    mechanisms: set[str] = field(default_factory=lambda: {"PLAIN", "LOGIN"})
    receive_buffer: int | None = None  # bytes; small, so that a large message cannot leave before anybody reads it
    port: int = 0  # any that is free
    talks: list[list[str]] = field(default_factory=list)  # the commands of each connection
    committed: list[Committed] = field(default_factory=list)
    connections: set[Talk] = field(default_factory=set)  # open now
    acts: dict[str, deque[Act | None]] = field(default_factory=dict)
    usual: dict[str, Act] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None
    _server: asyncio.AbstractServer | None = None

    def start(self) -> None:
        listening = socket.create_server((HOST, self.port))
        if self.receive_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.port = listening.getsockname()[1]
        self.loop.set_exception_handler(lambda _loop, _context: None)  # a connection that a test tore down is no news
        self._thread = threading.Thread(target=self.loop.run_forever, name="mail server", daemon=True)
        self._thread.start()

        async def serve() -> asyncio.AbstractServer:
            implicit: dict[str, Any] = (
                {} if self.starttls or self.tls is None else {"ssl": self.tls, "ssl_shutdown_timeout": 0.1}
            )
            return await self.loop.create_server(lambda: Talk(self), sock=listening, **implicit)

        self._server = self._done(serve())

    def stop(self) -> None:
        """Answer nobody any more, on open connections neither."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None

        async def end() -> None:
            assert self._server is not None
            self._server.close()
            for talk in list(self.connections):
                talk.hang_up(reset=True)
            tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._done(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        thread.join()
        self.loop.close()

    def drop_connections(self) -> None:
        """Close every open connection, as a server does that has waited long enough; returns when they are closed."""

        async def drop() -> None:
            for talk in list(self.connections):
                talk.hang_up()
            while self.connections:
                await asyncio.sleep(0.01)  # between two looks at what closes

        self._done(drop())

    def act(self, step: str) -> Act | None:
        """What is to be done at `step`, this time."""
        waiting = self.acts.get(step)
        return waiting.popleft() if waiting else self.usual.get(step)

    def once(self, step: str, *acts: Act | None) -> None:
        """The next times that `step` is reached, do this."""
        self.acts.setdefault(step, deque()).extend(acts)

    def behaves(self) -> None:
        """Do the right thing again."""
        self.acts.clear()
        self.usual.clear()

    def authenticated(self, talk: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        good = self.users.get(given.login.decode()) == given.password.decode()
        return AuthResult(success=good, handled=False, auth_data=given)

    @property
    def commands(self) -> list[str]:
        """Every command of every connection."""
        return [command for talk in self.talks for command in talk]

    @property
    def attempts(self) -> int:
        """How often a message was begun."""
        return sum(command.startswith("MAIL") for command in self.commands)

    def _done(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=PATIENCE)


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None, **settings: Any) -> Iterator[MailServer]:
    """The server, while the block runs."""
    server = MailServer(tls, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


# -- certificates ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authority:
    """A private authority, whose certificate lies in a file."""

    ca: trustme.CA
    file: Path

    def context(self, *names: str) -> ssl.SSLContext:
        """A server's side of the encryption, with a certificate for `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or (HOST, "localhost"))).configure_cert(context)
        return context


def authority(folder: Path) -> Authority:
    """A new authority; its certificate is put into `folder`."""
    made = Authority(trustme.CA(), folder / "ca.pem")
    made.ca.cert_pem.write_to_path(str(made.file))
    return made


# -- what may be done at a step ----------------------------------------------------------------------------------


def says(*lines: str) -> Act:
    """Answers so; several lines are one answer."""

    async def act(talk: Talk) -> None:
        await talk.write("".join(f"{line}\r\n" for line in lines).encode())

    return act


def says_and_closes(line: str) -> Act:
    """Answers so, and closes the connection."""
    return in_turn(says(line), closes)


async def closes(talk: Talk) -> None:
    """Closes the connection without an answer."""
    talk.hang_up()


async def resets(talk: Talk) -> None:
    """Resets the connection without an answer."""
    talk.hang_up(reset=True)


async def hangs(talk: Talk) -> None:
    """Is silent until the other side goes away."""
    await asyncio.Event().wait()


async def babbles(talk: Talk) -> None:
    """Answers something that is no answer of a mail server."""
    await talk.write(b"HTTP/1.1 400 Bad Request\r\n")


async def drips(talk: Talk) -> None:
    """Answers one byte at a time and never comes to the end, so that no single read takes long."""
    for byte in itertools.chain(b"250-", itertools.repeat(ord("."))):
        await talk.write(bytes([byte]))
        await asyncio.sleep(_DRIP_SECONDS)  # the fault itself


async def repeats_what_it_heard(talk: Talk) -> None:
    """Refuses a sign-in in words that hold the password."""
    await talk.write(f"535 5.7.8 {' '.join(talk.server.users.values())} is wrong\r\n".encode())


async def commits(talk: Talk) -> None:
    """Takes the message on, without a word."""
    talk.commit()


def in_turn(*acts: Act) -> Act:
    """Does one after the other."""

    async def act(talk: Talk) -> None:
        for each in acts:
            await each(talk)

    return act


# -- below SMTP --------------------------------------------------------------------------------------------------


class RawServer:
    """A server of bare connections, for what no mail server does; each is handled in a thread of its own."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._listening = socket.create_server((HOST, 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.ended = threading.Event()
        self.port = int(self._listening.getsockname()[1])
        self.most = 0  # connections that were open at once
        self._accepting = threading.Thread(target=self._accept, name="raw server", daemon=True)
        self._accepting.start()

    @property
    def held(self) -> int:
        """Connections that are open now."""
        with self._lock:
            return len(self._open)

    def stop(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:  # the end
                return
            with self._lock:
                self._open.add(connection)
                self.most = max(self.most, len(self._open))
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
def raw(handle: Callable[[socket.socket], None]) -> Iterator[RawServer]:
    """A server of bare connections, while the block runs."""
    server = RawServer(handle)
    try:
        yield server
    finally:
        server.stop()


def swallows(connection: socket.socket) -> None:
    """Reads whatever comes and never answers: a black hole."""
    while connection.recv(65536):
        pass


def ids(mails: Sequence[Committed]) -> list[str]:
    """The ids of `mails`, in the order in which they came."""
    return [mail.id for mail in mails]
