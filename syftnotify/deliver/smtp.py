"""Mail through a mail server: the standard library's client, step by step, to know at each what has left."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from syftnotify.config import Smtp, SmtpServer
from syftnotify.deliver.mime import mail_of
from syftnotify.deliver.policy import failure_of_reply
from syftnotify.errors import DeliveryError, Failure
from syftnotify.failpoints import reached
from syftnotify.model import Message, Receipt
from syftnotify.text import shown

CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 30.0  # a connection that rested longer is not trusted: servers close them after minutes
_LITERAL = "[127.0.0.1]"  # who we are: asking DNS for a name of our own may take half a minute
_ANSWERED = frozenset({Failure.NOT_NOW, Failure.REFUSED, Failure.HELD})


class SmtpTransport:
    """Sends through one server; a connection is kept for the next message. Safe to share between threads."""

    def __init__(self, settings: Smtp, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._server = settings.smtp_url
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[smtplib.SMTP, float]] = []

    def check(self) -> None:
        """Connect, encrypt and sign in, without sending. Raises: DeliveryError."""
        with self._deadline() as watched:
            self._keep(self._connected(watched))

    def send(self, message: Message) -> Receipt:
        """One attempt. Raises: DeliveryError."""
        sender = self._settings.sender
        if sender is not None:
            message = replace(message, sender=sender.address, sender_name=sender.name)
        content = mail_of(message, date=self._clock()).as_bytes()
        with self._deadline() as watched:
            session = self._rested(watched) or self._connected(watched)
            try:
                receipt = _handed_over(session, self._server.host, message, content)
            except DeliveryError as error:
                if error.failure in _ANSWERED:
                    self._keep(session)
                else:
                    session.close()
                raise
            self._keep(session)
            return receipt

    def close(self) -> None:
        """Let go of the connections that are kept."""
        with self._lock:
            sessions, self._idle = self._idle, []
        for session, _ in sessions:
            session.close()

    def _keep(self, session: smtplib.SMTP) -> None:
        with self._lock:
            self._idle.append((session, time.monotonic()))

    def _rested(self, watched: _Watched) -> smtplib.SMTP | None:
        """A kept connection that still answers. A message that failed half-way is forgotten by it, too."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                session, since = self._idle.pop()
            if time.monotonic() - since <= _IDLE_SECONDS:
                watched.append(session)
                with contextlib.suppress(OSError):
                    if session.rset()[0] == 250:
                        return session
            session.close()

    def _connected(self, watched: _Watched) -> smtplib.SMTP:
        server = self._server
        seconds = min(CONNECT_SECONDS, self._settings.timeout_secs)
        session: smtplib.SMTP | None = None
        try:
            if server.tls == "implicit":
                session = _EncryptedSession(
                    watched, server.host, server.port, _LITERAL, timeout=seconds, context=self._context()
                )
            else:
                session = _Session(watched, server.host, server.port, _LITERAL, timeout=seconds)
            if session.sock is not None:
                session.sock.settimeout(self._settings.timeout_secs)
            _expect(session.ehlo(_LITERAL), 250, server, "EHLO")
            if server.tls == "required":
                if not session.has_extn("starttls"):
                    raise DeliveryError(Failure.NO_ANSWER, f"{server.host} offers no encryption (STARTTLS)")
                _expect(session.starttls(context=self._context()), 220, server, "STARTTLS")
                _expect(session.ehlo(_LITERAL), 250, server, "EHLO")
            if server.user:
                _sign_in(session, server)
        except BaseException as error:
            for each in watched:
                each.close()
            if isinstance(error, smtplib.SMTPConnectError):
                _expect((int(error.smtp_code), _bytes(error.smtp_error)), 220, server, "the greeting")
            if isinstance(error, (OSError, ValueError)):  # smtplib's own errors are OSErrors, too
                raise DeliveryError(
                    Failure.NO_ANSWER, f"{server.host} could not be reached ({_name(error)})"
                ) from error
            raise
        return session

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._settings.ca_file is not None:
            context.load_verify_locations(self._settings.ca_file)
        return context

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[_Watched]:
        """End every session of the block after `timeout_secs`: the library's own limit is for each single read."""
        watched: _Watched = []
        timer = threading.Timer(self._settings.timeout_secs, _cut, [watched])
        timer.daemon = True
        timer.start()
        try:
            yield watched
        finally:
            timer.cancel()


_Watched = list[smtplib.SMTP]


class _Session(smtplib.SMTP):
    """A session that is watched before it connects: its constructor waits for the greeting."""

    def __init__(self, watched: _Watched, *arguments: Any, **more: Any) -> None:
        watched.append(self)
        super().__init__(*arguments, **more)


class _EncryptedSession(smtplib.SMTP_SSL):
    """The same, encrypted from the start."""

    def __init__(self, watched: _Watched, *arguments: Any, **more: Any) -> None:
        watched.append(self)
        super().__init__(*arguments, **more)


def _cut(watched: _Watched) -> None:
    for session in watched:
        if session.sock is not None:
            with contextlib.suppress(OSError):
                session.sock.shutdown(2)


def _sign_in(session: smtplib.SMTP, server: SmtpServer) -> None:
    try:
        session.login(server.user, server.password)
    except smtplib.SMTPAuthenticationError as error:
        # Not the server's words: some repeat what they were sent.
        failure = failure_of_reply(int(error.smtp_code), "", about_us=True)
        raise DeliveryError(failure, f"{server.host} refuses the sign-in ({error.smtp_code})") from None
    except smtplib.SMTPNotSupportedError:
        raise DeliveryError(Failure.SIGN_IN, f"{server.host} takes no sign-in on this connection") from None
    except smtplib.SMTPServerDisconnected as error:
        raise DeliveryError(Failure.NO_ANSWER, f"{server.host} closed the connection at the sign-in") from error
    except smtplib.SMTPException:
        raise DeliveryError(Failure.SIGN_IN, f"{server.host} knows no way of signing in that we know") from None


def _handed_over(session: smtplib.SMTP, host: str, message: Message, content: bytes) -> Receipt:
    """Give one message to a session that is ready for it. Raises: DeliveryError."""
    may_have_arrived = False
    try:
        _accept(session.mail(message.sender), host)
        _accept(session.rcpt(message.recipient), host)
        _accept(session.docmd("DATA"), host, code=354)
        session.send(re.sub(rb"(?m)^\.", b"..", content))  # a line of one dot would end the message
        may_have_arrived = True
        session.send(b".\r\n")
        reached("smtp.dot")
        code, text = session.getreply()
    except OSError as error:  # smtplib's own errors are OSErrors, too
        if may_have_arrived:
            raise DeliveryError(Failure.UNKNOWN, f"cut off before {host} answered ({_name(error)})") from error
        raise DeliveryError(Failure.NO_ANSWER, f"{host} stopped answering ({_name(error)})") from error
    if not 200 <= code < 600:
        raise DeliveryError(Failure.UNKNOWN, f"the answer of {host} was not understood")
    _accept((code, text), host)
    return Receipt(provider_id=shown(text.decode("utf-8", "replace"), limit=200))


def _accept(answer: tuple[int, bytes], host: str, *, code: int = 250) -> None:
    """Go on when the server agreed; 251 ("will forward") and 252 ("cannot verify, will try") are agreement, too."""
    number, words = answer
    if number == code or (code == 250 and number in {251, 252}):
        return
    text = shown(words.decode("utf-8", "replace").replace("\n", " "), limit=200)
    if not 400 <= number < 600:
        raise DeliveryError(Failure.NO_ANSWER, f"the answer of {host} was not understood ({number})")
    raise DeliveryError(failure_of_reply(number, text), f"{host} answered {number} {text}")


def _expect(answer: tuple[int, bytes], code: int, server: SmtpServer, what: str) -> None:
    """Go on when the server agreed; else it is not this message that it refuses, but us."""
    number, words = answer
    if number == code:
        return
    text = shown(words.decode("utf-8", "replace").replace("\n", " "), limit=200)
    failure = failure_of_reply(number, text, about_us=True) if 400 <= number < 600 else Failure.NO_ANSWER
    raise DeliveryError(failure, f"{server.host} answered {what} with {number} {text}")


def _bytes(words: bytes | str) -> bytes:
    return words.encode() if isinstance(words, str) else words


def _name(error: Exception) -> str:
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__
