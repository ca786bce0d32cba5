"""E-mail through an SMTP server.

Each command of a message is sent separately, to distinguish a message that was not sent from one that may have been
accepted.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.text import escape
from syftnotify.system.failpoints import reached
from syftnotify.transports.deadline import Deadline
from syftnotify.transports.mime import build_mime
from syftnotify.transports.smtp.replies import check_message_reply, network_reason
from syftnotify.transports.smtp.server import Mailbox, SmtpServer
from syftnotify.transports.smtp.session import open_session

_MAX_IDLE_SECONDS = 30.0  # older sessions are not reused: servers close idle ones after some minutes
_REJECTED = frozenset(
    {Failure.TEMPORARY, Failure.PERMANENT, Failure.QUOTA}
)  # failures after which a session is still usable


class SmtpTransport:
    """Sends through one server, and keeps sessions for the next messages. Safe to share between threads."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        sender: Mailbox | None,
        ca_file: Path | None,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        """Set up without connecting.

        Args:
            server: the server and the credentials.
            sender: replaces the sender of the messages; None: it is kept.
            ca_file: CA certificates that are trusted besides those of the system.
            timeout: time limit of one attempt, in seconds.
            clock: seconds since 1970, for the `Date` header.
        """
        self._server = server
        self._sender = sender
        self._ca_file = ca_file
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[smtplib.SMTP, float]] = []  # sessions, each with the time of its last use

    def check(self) -> None:
        """Connect, encrypt and sign in, without sending. Raises: DeliveryError."""
        with Deadline(self._timeout) as deadline:
            self._keep(self._new_session(deadline))

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        if self._sender is not None:
            message = replace(message, sender=self._sender.address, sender_name=self._sender.name)
        content = build_mime(message, date=self._clock()).as_bytes()
        with Deadline(self._timeout) as deadline:
            session = self._idle_session(deadline) or self._new_session(deadline)
            try:
                receipt = _transmit(session, self._server, message, content, deadline)
            except DeliveryError as error:
                if error.failure in _REJECTED:
                    self._keep(session)
                else:
                    session.close()
                raise
            self._keep(session)
            return receipt

    def close(self) -> None:
        """Close the kept sessions."""
        with self._lock:
            sessions, self._idle = self._idle, []
        for session, _ in sessions:
            session.close()

    def _keep(self, session: smtplib.SMTP) -> None:
        with self._lock:
            self._idle.append((session, time.monotonic()))

    def _idle_session(self, deadline: Deadline) -> smtplib.SMTP | None:
        """A kept session that still responds to RSET, which also discards an incomplete message; None if none does."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                session, last_used = self._idle.pop()
            if session.sock is not None and time.monotonic() - last_used <= _MAX_IDLE_SECONDS:
                with contextlib.suppress(OSError):
                    deadline.watch(session.sock)
                    if session.rset()[0] == 250:
                        return session
            session.close()

    def _new_session(self, deadline: Deadline) -> smtplib.SMTP:
        return open_session(self._server, deadline, timeout=self._timeout, ca_file=self._ca_file)


def _transmit(
    session: smtplib.SMTP, server: SmtpServer, message: Message, content: bytes, deadline: Deadline
) -> Receipt:
    """Send one message over a session that is ready for it.

    Raises:
        DeliveryError: the message was rejected, or UNREACHABLE; UNKNOWN if it was sent and no valid reply arrived.
    """
    may_have_arrived = False
    try:
        check_message_reply(session.mail(message.sender), server)
        check_message_reply(session.rcpt(message.recipient), server)
        check_message_reply(session.docmd("DATA"), server, code=354)
        session.send(re.sub(rb"(?m)^\.", b"..", content))  # a line of one dot would end the message
        may_have_arrived = True
        session.send(b".\r\n")
        reached("smtp.dot")
        code, text = session.getreply()
    except (OSError, ValueError) as error:  # errors of smtplib are OSErrors; ValueError: the file was closed
        reason = network_reason(error, deadline)
        if may_have_arrived:
            raise DeliveryError(Failure.UNKNOWN, f"cut off before {server.host} answered ({reason})") from error
        raise DeliveryError(Failure.UNREACHABLE, f"{server.host} stopped answering ({reason})") from error
    if 400 <= code < 600:
        check_message_reply((code, text), server)
    if not 200 <= code < 300:
        raise DeliveryError(Failure.UNKNOWN, f"the reply of {server.host} was not understood")
    return Receipt(provider_id=escape(text.decode("utf-8", "replace"), limit=200))
