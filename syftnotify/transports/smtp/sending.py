"""Mail through a mail server: the standard library's client, step by step, to know at each what has left."""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.retry import failure_of_reply, is_about_recipient
from syftnotify.core.text import escape, redact
from syftnotify.system.failpoints import reached
from syftnotify.transports.deadline import Deadline
from syftnotify.transports.mime import build_mime
from syftnotify.transports.smtp.server import SmtpServer
from syftnotify.transports.smtp.settings import SmtpSettings

CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 30.0  # a connection that rested longer is not trusted: servers close them after minutes
_LONGEST_LINE = 8192  # bytes of a line of a reply
_MOST_LINES = 100  # lines of a reply
_LITERAL = "[127.0.0.1]"  # who we are: asking DNS for a name of our own may take half a minute
_ANSWERED = frozenset({Failure.TEMPORARY, Failure.PERMANENT, Failure.QUOTA})


class SmtpTransport:
    """Sends through one server; a connection is kept for the next message. Safe to share between threads."""

    def __init__(self, settings: SmtpSettings, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._server = settings.smtp_url
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[smtplib.SMTP, float]] = []

    def check(self) -> None:
        """Connect, encrypt and sign in, without sending. Raises: DeliveryError."""
        with Deadline(self._settings.timeout_secs) as deadline:
            self._keep(self._connected(deadline))

    def send(self, message: Message) -> Receipt:
        """One attempt. Raises: DeliveryError."""
        sender = self._settings.sender
        if sender is not None:
            message = replace(message, sender=sender.address, sender_name=sender.name)
        content = build_mime(message, date=self._clock()).as_bytes()
        with Deadline(self._settings.timeout_secs) as deadline:
            session = self._rested(deadline) or self._connected(deadline)
            try:
                receipt = _handed_over(session, self._server, message, content, deadline)
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

    def _rested(self, deadline: Deadline) -> smtplib.SMTP | None:
        """A kept connection that still responds. RSET also discards a message that failed half-way."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                session, since = self._idle.pop()
            if session.sock is not None and time.monotonic() - since <= _IDLE_SECONDS:
                with contextlib.suppress(OSError):
                    deadline.watch(session.sock)
                    if session.rset()[0] == 250:
                        return session
            session.close()

    def _connected(self, deadline: Deadline) -> smtplib.SMTP:
        server = self._server
        seconds = min(CONNECT_SECONDS, self._settings.timeout_secs)
        session: smtplib.SMTP | None = None
        try:
            if server.tls == "implicit":
                session = _EncryptedSession(
                    deadline, server.host, server.port, _LITERAL, timeout=seconds, context=self._context()
                )
            else:
                session = _Session(deadline, server.host, server.port, _LITERAL, timeout=seconds)
            if session.sock is not None:
                session.sock.settimeout(self._settings.timeout_secs)
                # The final dot is a small packet behind a large one: the kernel would hold it back for 40 ms.
                session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _expect(session.ehlo(_LITERAL), 250, server, "EHLO")
            if server.tls == "required":
                if not session.has_extn("starttls"):
                    raise DeliveryError(Failure.UNREACHABLE, f"{server.host} offers no encryption (STARTTLS)")
                _expect(session.starttls(context=self._context()), 220, server, "STARTTLS")
                _expect(session.ehlo(_LITERAL), 250, server, "EHLO")
            if server.user:
                _sign_in(session, server)
        except BaseException as error:  # raised again below; no connection stays open
            if session is not None:
                session.close()
            if isinstance(error, smtplib.SMTPResponseException):
                what = "the greeting" if isinstance(error, smtplib.SMTPConnectError) else "STARTTLS"
                _expect((int(error.smtp_code), _bytes(error.smtp_error)), 220, server, what)
            if isinstance(error, (OSError, ValueError)):  # smtplib's own errors are OSErrors, too
                raise DeliveryError(
                    Failure.UNREACHABLE, f"{server.host} could not be reached ({_name(error, deadline)})"
                ) from error
            raise
        return session

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._settings.ca_file is not None:
            try:
                context.load_verify_locations(self._settings.ca_file)
            except OSError as error:
                raise DeliveryError(
                    Failure.AUTH, f"ca_file {self._settings.ca_file} cannot be used ({type(error).__name__})"
                ) from error
        return context


class _Session(smtplib.SMTP):
    """A session within a deadline, whose replies have a limit of length."""

    def __init__(self, deadline: Deadline, *arguments: Any, **more: Any) -> None:
        self._deadline = deadline
        super().__init__(*arguments, **more)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._deadline.connect(host, port, seconds=timeout)

    def getreply(self) -> tuple[int, bytes]:
        """One whole reply. The library reads endless ones, and takes a line that broke off for a whole one.

        Raises:
            smtplib.SMTPServerDisconnected: it did not arrive, not completely, or is too long.
        """
        try:
            return self._reply()
        except (OSError, ValueError) as error:  # a ValueError when another thread closed the file
            self.close()
            raise smtplib.SMTPServerDisconnected(str(error)) from error

    def _reply(self) -> tuple[int, bytes]:
        if self.file is None:
            if self.sock is None:
                raise OSError("the connection is closed")
            self.file = self.sock.makefile("rb")
        words: list[bytes] = []
        while len(words) < _MOST_LINES:
            line = bytes(self.file.readline(_LONGEST_LINE))
            if not line.endswith(b"\n"):
                raise OSError("the reply broke off, or a line of it is too long")
            words.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]) if line[:3].isdigit() else -1, b"\n".join(words)
        raise OSError("the reply has too many lines")


class _EncryptedSession(smtplib.SMTP_SSL, _Session):
    """The same, encrypted from the start."""

    def __init__(self, deadline: Deadline, *arguments: Any, **more: Any) -> None:
        self._deadline = deadline  # the library's constructor passes ours over
        super().__init__(*arguments, **more)


def _sign_in(session: smtplib.SMTP, server: SmtpServer) -> None:
    try:
        if (server.user + server.password).isascii():
            session.login(server.user, server.password)
        else:
            _sign_in_plainly(session, server)
    except smtplib.SMTPAuthenticationError as error:
        # Not the server's words: some repeat what they were sent.
        code = int(error.smtp_code)
        failure = failure_of_reply(code, "", about_us=True) if 400 <= code < 600 else Failure.UNREACHABLE
        raise DeliveryError(failure, f"{server.host} refuses the sign-in ({error.smtp_code})") from None
    except smtplib.SMTPNotSupportedError:
        raise DeliveryError(Failure.AUTH, f"{server.host} takes no sign-in on this connection") from None
    except smtplib.SMTPServerDisconnected as error:
        raise DeliveryError(Failure.UNREACHABLE, f"{server.host} closed the connection at the sign-in") from error
    except smtplib.SMTPException:
        raise DeliveryError(Failure.AUTH, f"{server.host} knows no way of signing in that we know") from None


def _sign_in_plainly(session: smtplib.SMTP, server: SmtpServer) -> None:
    """AUTH PLAIN in UTF-8, as RFC 4616 has it; the library knows only ASCII."""
    if "PLAIN" not in session.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError
    word = base64.b64encode(f"\0{server.user}\0{server.password}".encode()).decode("ascii")
    code, answer = session.docmd("AUTH", f"PLAIN {word}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _handed_over(
    session: smtplib.SMTP, server: SmtpServer, message: Message, content: bytes, deadline: Deadline
) -> Receipt:
    """Give one message to a session that is ready for it. Raises: DeliveryError."""
    may_have_arrived = False
    host = server.host
    try:
        _accept(session.mail(message.sender), server)
        _accept(session.rcpt(message.recipient), server)
        _accept(session.docmd("DATA"), server, code=354)
        session.send(re.sub(rb"(?m)^\.", b"..", content))  # a line of one dot would end the message
        may_have_arrived = True
        session.send(b".\r\n")
        reached("smtp.dot")
        code, text = session.getreply()
    except (OSError, ValueError) as error:  # smtplib's own errors are OSErrors; the other one is of a socket cut off
        why = _name(error, deadline)
        if may_have_arrived:
            raise DeliveryError(Failure.UNKNOWN, f"cut off before {host} answered ({why})") from error
        raise DeliveryError(Failure.UNREACHABLE, f"{host} stopped answering ({why})") from error
    if 400 <= code < 600:
        _accept((code, text), server)
    if not 200 <= code < 300:
        raise DeliveryError(Failure.UNKNOWN, f"the answer of {host} was not understood")
    return Receipt(provider_id=escape(text.decode("utf-8", "replace"), limit=200))


def _accept(answer: tuple[int, bytes], server: SmtpServer, *, code: int = 250) -> None:
    """Go on when the server agreed; 251 ("will forward") and 252 ("cannot verify, will try") are agreement, too."""
    number, words = answer
    if number == code or (code == 250 and number in {251, 252}):
        return
    text = _words(words, server)
    if not 400 <= number < 600:
        raise DeliveryError(Failure.UNREACHABLE, f"the answer of {server.host} was not understood ({number})")
    raise DeliveryError(
        failure_of_reply(number, text),
        f"{server.host} answered {number} {text}",
        is_about_recipient=is_about_recipient(text),
    )


def _expect(answer: tuple[int, bytes], code: int, server: SmtpServer, what: str) -> None:
    """Go on when the server agreed; else it is not this message that it refuses, but us."""
    number, words = answer
    if number == code:
        return
    text = _words(words, server)
    failure = failure_of_reply(number, text, about_us=True) if 400 <= number < 600 else Failure.UNREACHABLE
    raise DeliveryError(failure, f"{server.host} answered {what} with {number} {text}")


def _words(words: bytes, server: SmtpServer) -> str:
    """What a server said, on one line, without the password that it may repeat."""
    return escape(redact(words.decode("utf-8", "replace").replace("\n", " "), [server.password]), limit=200)


def _bytes(words: bytes | str) -> bytes:
    return words.encode() if isinstance(words, str) else words


def _name(error: Exception, deadline: Deadline) -> str:
    return "timed out" if deadline.has_passed or isinstance(error, TimeoutError) else type(error).__name__
