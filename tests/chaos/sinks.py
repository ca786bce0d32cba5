"""Where the mails end: servers on this machine that fail at random and write down what they would have delivered."""

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

SLOWLY = 0.05, 0.5  # seconds that a slow answer takes


class Committed(NamedTuple):
    """A message that a server took over: from here on it would have been delivered."""

    id: str  # the Message-ID's part before the @
    items: tuple[Owed, ...]


def committed(source: bytes) -> Committed:
    head = BytesHeaderParser(policy=default).parsebytes(source)
    event, audience, to = (str(head[name]) for name in ("X-SyftNotify-Event", "X-SyftNotify-Audience", "To"))
    entities = [str(value) for value in head.get_all("X-SyftNotify-Entity", [])]
    identity = str(head["Message-ID"]).strip("<>").partition("@")[0]
    return Committed(identity, tuple(Owed(event, audience, to, entity) for entity in entities))


class Faults:
    """Which fault comes next; the dice are seeded, and several threads throw them."""

    def __init__(self, seed: str) -> None:
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self.is_fair = False  # no faults any more

    def next(self, faults: Mapping[str, float]) -> str:
        """The name of a fault, or nothing; `faults` says how likely each is."""
        with self._lock:
            throw = self._dice.random()
        for name, chance in {} if self.is_fair else faults.items():
            throw -= chance
            if throw < 0:
                return name
        return ""

    def delay(self) -> float:
        """Seconds that a slow answer takes."""
        with self._lock:
            return self._dice.uniform(*SLOWLY)


class Book:
    """What was committed, in order; those who wait are woken by each entry."""

    def __init__(self) -> None:
        self._entries: list[Committed] = []
        self._grown = threading.Condition()

    def enter(self, source: bytes) -> None:
        with self._grown:
            self._entries.append(committed(source))
            self._grown.notify_all()

    @property
    def entries(self) -> list[Committed]:
        with self._grown:
            return list(self._entries)

    def wait_for(self, owed: frozenset[Owed], seconds: float) -> bool:
        """Whether all of `owed` has come, within `seconds`."""
        with self._grown:
            return self._grown.wait_for(
                lambda: owed <= {each for entry in self._entries for each in entry.items}, timeout=seconds
            )


class Sink(Protocol):
    """A server while its block runs."""

    @property
    def book(self) -> Book: ...

    @property
    def faults(self) -> Faults: ...

    def is_idle(self) -> bool:
        """Whether nobody is connected, so that nothing is on its way into the book."""

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
    "commit then cut": 0.04,
    "commit then 504": 0.03,
    "slow": 0.10,
}


class GmailSink:
    """Google, as `tests.fakes.google` plays it, with random faults."""

    def __init__(self, seed: str) -> None:
        self.book = Book()
        self.faults = Faults(seed)
        self.google = Google(default=self._answer)
        self._proven: set[str] = set()  # access tokens with which a mail was taken, and said to be
        self._answers: dict[str, Responder] = {
            "429": respond_error(429, "rateLimitExceeded", headers={"Retry-After": "1"}),
            "500": respond_error(500, "backendError"),
            "503": respond_html(503),
            "403": respond_error(403, "userRateLimitExceeded"),
            "401": self._forgets_the_token,
            "rejected": respond_error(401, "authError"),
            "close": close_connection,
            "reset": reset_connection,
            "commit then close": self._committing(close_connection),
            "commit then reset": self._committing(reset_connection),
            "commit then cut": self._committing(truncate_body),
            "commit then 504": self._committing(respond_html(504)),
            "slow": self._committing(self._answers_slowly),
            "": self._committing(self._agrees),
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

    def _answer(self, handler: Handler) -> None:
        with self.google.lock:
            knows = handler.post.access_token in self.google.access_tokens
        self._answers[self.faults.next(GMAIL_FAULTS) if knows else "rejected"](handler)

    def _forgets_the_token(self, handler: Handler) -> None:
        """A token is only rejected after it was good for something: two in a row rightly pause the transport."""
        token = handler.post.access_token
        with self.google.lock:
            is_proven = token in self._proven
            if is_proven:
                self.google.access_tokens.discard(token)
        self._answers["rejected" if is_proven else ""](handler)

    def _committing(self, answer: Responder) -> Responder:
        def act(handler: Handler) -> None:
            self.book.enter(handler.post.source)
            answer(handler)

        return act

    def _answers_slowly(self, handler: Handler) -> None:
        self.google.stopped.wait(self.faults.delay())
        self._agrees(handler)

    def _agrees(self, handler: Handler) -> None:
        handler.respond_json(200, {"id": "taken", "threadId": handler.post.thread or "thread"})
        with self.google.lock:
            self._proven.add(handler.post.access_token)


# -- SMTP --------------------------------------------------------------------------------------------------------

SMTP_FAULTS_BEFORE_DATA = {"451": 0.03, "421": 0.03, "drop": 0.04}
SMTP_FAULTS_AFTER_THE_DOT = {
    "451": 0.03,
    "421": 0.03,
    "drop": 0.05,
    "commit then drop": 0.06,
    "commit then cut": 0.04,
    "slow": 0.10,
}


class SmtpSink(Controller):
    """A mail server, by aiosmtpd, with random faults."""

    def __init__(self, seed: str) -> None:
        # A name is handed in because finding one's own may ask DNS.
        super().__init__(self, hostname="127.0.0.1", port=0, server_hostname="sink.example")
        self.book = Book()
        self.faults = Faults(seed)
        self.connected = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def is_idle(self) -> bool:
        return not self.connected

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
        """On any free port: the controller itself would knock at port 0."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        return self.loop.create_server(self._factory_invoker, sock=listening)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, mail_options: list[str]
    ) -> str:
        fault = self.faults.next(SMTP_FAULTS_BEFORE_DATA)
        if fault == "451":
            return "451 4.3.0 try again later"
        if fault == "421":
            return _hang_up(server, "421 4.3.2 closing")
        if fault == "drop":
            return _hang_up(server)
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        fault = self.faults.next(SMTP_FAULTS_AFTER_THE_DOT)
        if fault == "451":
            return "451 4.3.0 try again later"
        if fault == "421":
            return _hang_up(server, "421 4.3.2 closing")
        if fault == "drop":
            return _hang_up(server)
        assert isinstance(envelope.content, bytes)
        self.book.enter(envelope.content)
        if fault == "commit then drop":
            return _hang_up(server)
        if fault == "commit then cut":
            return _hang_up(server, "250 2.0.0 tak", end="")
        if fault == "slow":
            await asyncio.sleep(self.faults.delay())  # the fault itself: a server that takes its time
        return "250 2.0.0 taken"


class _Connection(SMTP):
    """Counts itself while it is open."""

    def __init__(self, sink: SmtpSink) -> None:
        super().__init__(sink, hostname="sink.example", enable_SMTPUTF8=True)
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink.connected += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._sink.connected -= 1


def _hang_up(server: SMTP, reply: str = "", *, end: str = "\r\n") -> str:
    """Close the connection, after `reply` if there are any. What is returned reaches nobody."""
    assert isinstance(server.transport, asyncio.Transport)
    if reply:
        server.transport.write(f"{reply}{end}".encode())
    server.transport.close()
    return "421 gone"
