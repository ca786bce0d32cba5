"""Mail servers that fail at random and record the messages that they accept."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Awaitable, Mapping
from email.parser import BytesHeaderParser
from email.policy import default
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.chaos.material import Owed
from tests.fakes.google import (
    Google,
    Handler,
    Responder,
    close_connection,
    reset_connection,
    respond_error,
    respond_html,
    truncate_body,
)

SLOW_SECONDS = 0.05, 0.5  # duration of a slow response


class Committed(NamedTuple):
    """A message that a server accepted and would have delivered."""

    id: str  # the part of Message-ID before the @
    items: tuple[Owed, ...]


def parse_committed(source: bytes) -> Committed:
    head = BytesHeaderParser(policy=default).parsebytes(source)
    event, audience, to = (str(head[name]) for name in ("X-SyftNotify-Event", "X-SyftNotify-Audience", "To"))
    entities = [str(value) for value in head.get_all("X-SyftNotify-Entity", [])]
    identity = str(head["Message-ID"]).strip("<>").partition("@")[0]
    return Committed(identity, tuple(Owed(event, audience, to, entity) for entity in entities))


class Faults:
    """Chooses faults at random from a seed; thread-safe."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self.is_disabled = False

    def next(self, faults: Mapping[str, float]) -> str:
        """The name of a fault, or an empty text; `faults` are the probabilities."""
        with self._lock:
            value = self._rng.random()
        for name, chance in {} if self.is_disabled else faults.items():
            value -= chance
            if value < 0:
                return name
        return ""

    def delay(self) -> float:
        """The duration of a slow response in seconds."""
        with self._lock:
            return self._rng.uniform(*SLOW_SECONDS)


class Mailbox:
    """The committed messages, in order; thread-safe."""

    def __init__(self) -> None:
        self._entries: list[Committed] = []
        self._changed = threading.Condition()

    def add(self, source: bytes) -> None:
        with self._changed:
            self._entries.append(parse_committed(source))
            self._changed.notify_all()

    @property
    def entries(self) -> list[Committed]:
        with self._changed:
            return list(self._entries)

    def wait_for(self, owed: frozenset[Owed], seconds: float) -> bool:
        """Wait up to `seconds` for all of `owed`; returns whether they have arrived."""
        with self._changed:
            return self._changed.wait_for(
                lambda: owed <= {each for entry in self._entries for each in entry.items}, timeout=seconds
            )


class Sink(Protocol):
    """A mail server as a context manager."""

    @property
    def mailbox(self) -> Mailbox: ...

    @property
    def faults(self) -> Faults: ...

    def is_idle(self) -> bool:
        """Whether no connection is open, so that no message is in transit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


# -- Gmail -------------------------------------------------------------------------------------------------------

GMAIL_FAULTS = {
    "429": 0.03,
    "500": 0.02,
    "503": 0.03,
    "403": 0.03,
    "401": 0.02,
    "close": 0.03,
    "reset": 0.03,
    "commit then close": 0.04,
    "commit then reset": 0.03,
    "commit then truncate": 0.04,
    "commit then 504": 0.03,
    "slow": 0.10,
}


class GmailSink:
    """The fake Gmail server with random faults."""

    def __init__(self, seed: str) -> None:
        self.mailbox = Mailbox()
        self.faults = Faults(seed)
        self.google = Google(default=self._respond)
        self._used_tokens: set[str] = set()  # access tokens with which a mail was accepted
        self._responders: dict[str, Responder] = {
            "429": respond_error(429, "rateLimitExceeded", headers={"Retry-After": "1"}),
            "500": respond_error(500, "backendError"),
            "503": respond_html(503),
            "403": respond_error(403, "userRateLimitExceeded"),
            "401": self._invalidate_token,
            "rejected": respond_error(401, "authError"),
            "close": close_connection,
            "reset": reset_connection,
            "commit then close": self._commit_then(close_connection),
            "commit then reset": self._commit_then(reset_connection),
            "commit then truncate": self._commit_then(truncate_body),
            "commit then 504": self._commit_then(respond_html(504)),
            "slow": self._commit_then(self._accept_slowly),
            "": self._commit_then(self._accept),
        }

    def is_idle(self) -> bool:
        return not self.google.connections

    def __enter__(self) -> Self:
        self.google.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.google.stop()

    def _respond(self, handler: Handler) -> None:
        with self.google.lock:
            is_valid = handler.post.access_token in self.google.access_tokens
        self._responders[self.faults.next(GMAIL_FAULTS) if is_valid else "rejected"](handler)

    def _invalidate_token(self, handler: Handler) -> None:
        """Invalidate the token if it was used before: two rejected tokens in a row would pause the transport."""
        token = handler.post.access_token
        with self.google.lock:
            is_used = token in self._used_tokens
            if is_used:
                self.google.access_tokens.discard(token)
        self._responders["rejected" if is_used else ""](handler)

    def _commit_then(self, answer: Responder) -> Responder:
        def act(handler: Handler) -> None:
            self.mailbox.add(handler.post.source)
            answer(handler)

        return act

    def _accept_slowly(self, handler: Handler) -> None:
        self.google.stopped.wait(self.faults.delay())
        self._accept(handler)

    def _accept(self, handler: Handler) -> None:
        handler.respond_json(200, {"id": "accepted", "threadId": handler.post.thread or "thread"})
        with self.google.lock:
            self._used_tokens.add(handler.post.access_token)


# -- SMTP --------------------------------------------------------------------------------------------------------

SMTP_FAULTS_BEFORE_DATA = {"451": 0.03, "421": 0.03, "drop": 0.04}
SMTP_FAULTS_AFTER_DOT = {
    "451": 0.03,
    "421": 0.03,
    "drop": 0.05,
    "commit then drop": 0.06,
    "commit then truncate": 0.04,
    "slow": 0.10,
}


class SmtpSink(Controller):
    """A mail server with random faults, based on aiosmtpd."""

    def __init__(self, seed: str) -> None:
        # Without a name, aiosmtpd looks up its own in the DNS.
        super().__init__(self, hostname="127.0.0.1", port=0, server_hostname="sink.example")
        self.mailbox = Mailbox()
        self.faults = Faults(seed)
        self.connections = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def is_idle(self) -> bool:
        return not self.connections

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def factory(self) -> SMTP:
        return _Connection(self)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        """Listen on any free port: the base class would connect to port 0."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        return self.loop.create_server(self._factory_invoker, sock=listener)

    async def handle_MAIL(  # noqa: N802 - name of aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, mail_options: list[str]
    ) -> str:
        fault = self.faults.next(SMTP_FAULTS_BEFORE_DATA)
        if fault == "451":
            return "451 4.3.0 try again later"
        if fault == "421":
            return _disconnect(server, "421 4.3.2 closing")
        if fault == "drop":
            return _disconnect(server)
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        fault = self.faults.next(SMTP_FAULTS_AFTER_DOT)
        if fault == "451":
            return "451 4.3.0 try again later"
        if fault == "421":
            return _disconnect(server, "421 4.3.2 closing")
        if fault == "drop":
            return _disconnect(server)
        assert isinstance(envelope.content, bytes)
        self.mailbox.add(envelope.content)
        if fault == "commit then drop":
            return _disconnect(server)
        if fault == "commit then truncate":
            return _disconnect(server, "250 2.0.0 acc", end="")
        if fault == "slow":
            await asyncio.sleep(self.faults.delay())  # part of the fault
        return "250 2.0.0 accepted"


class _Connection(SMTP):
    """A connection that counts as open until it is lost."""

    def __init__(self, sink: SmtpSink) -> None:
        super().__init__(sink, hostname="sink.example", enable_SMTPUTF8=True)
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink.connections += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._sink.connections -= 1


def _disconnect(server: SMTP, reply: str = "", *, end: str = "\r\n") -> str:
    """Close the connection after `reply`, if any. The client does not receive the returned text."""
    assert isinstance(server.transport, asyncio.Transport)
    if reply:
        server.transport.write(f"{reply}{end}".encode())
    server.transport.close()
    return "421 closed"
