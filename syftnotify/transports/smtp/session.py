"""SMTP sessions: smtplib with an overall deadline and limits for the size of replies."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from pathlib import Path
from typing import Any

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.retry import failure_of_reply
from syftnotify.transports.deadline import Deadline
from syftnotify.transports.smtp.replies import Reply, check_session_reply, network_reason, session_error
from syftnotify.transports.smtp.server import SmtpServer

_CONNECT_SECONDS = 10.0
_MAX_LINE_BYTES = 8192  # of a reply
_MAX_LINES = 100  # of a reply
_EHLO_NAME = "[127.0.0.1]"  # an address literal; smtplib would look up a host name in DNS, which may take 30 s


def open_session(
    server: SmtpServer, deadline: Deadline, *, timeout: float, ca_file: Path | None = None
) -> smtplib.SMTP:
    """A session that is ready for a message: connected, encrypted and signed in as `server` requires.

    Args:
        server: the server and the credentials.
        deadline: the time limit of the whole conversation.
        timeout: seconds for each read or write, and for connecting at most `_CONNECT_SECONDS`.
        ca_file: CA certificates that are trusted besides those of the system.

    Raises:
        DeliveryError: UNREACHABLE, AUTH or QUOTA; no message was sent.
    """
    step = "the connection"  # that the server may reject, for the error message
    try:
        session = _connect(server, deadline, timeout, ca_file)
        step = "STARTTLS"
        try:
            _prepare(session, server, timeout, ca_file)
        except BaseException:
            session.close()
            raise
    except smtplib.SMTPResponseException as error:
        raise session_error((int(error.smtp_code), _bytes(error.smtp_error)), server, step) from error
    except (OSError, ValueError) as error:  # all other errors of smtplib are OSErrors
        reason = network_reason(error, deadline)
        raise DeliveryError(Failure.UNREACHABLE, f"{server.host} could not be reached ({reason})") from error
    return session


def _connect(server: SmtpServer, deadline: Deadline, timeout: float, ca_file: Path | None) -> smtplib.SMTP:
    """A session whose server has sent its greeting, encrypted if `server.tls` is `implicit`."""
    limit = min(_CONNECT_SECONDS, timeout)
    session: smtplib.SMTP
    if server.tls == "implicit":
        context = _tls_context(ca_file)
        session = _TlsSession(deadline, server.host, server.port, _EHLO_NAME, timeout=limit, context=context)
    else:
        session = _Session(deadline, server.host, server.port, _EHLO_NAME, timeout=limit)
    return session


def _prepare(session: smtplib.SMTP, server: SmtpServer, timeout: float, ca_file: Path | None) -> None:
    """Send EHLO, STARTTLS and the sign-in, as `server` requires."""
    if session.sock is not None:
        session.sock.settimeout(timeout)
        # The dot that ends a message is a small packet after a large one; Nagle's algorithm would delay it by 40 ms.
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    check_session_reply(session.ehlo(_EHLO_NAME), 250, server, "EHLO")
    if server.tls == "required":
        if not session.has_extn("starttls"):
            raise DeliveryError(Failure.UNREACHABLE, f"{server.host} offers no encryption (STARTTLS)")
        session.starttls(context=_tls_context(ca_file))  # raises SMTPResponseException unless the reply is 220
        check_session_reply(session.ehlo(_EHLO_NAME), 250, server, "EHLO")
    if server.user:
        _sign_in(session, server)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the system's certificate authorities and those in `ca_file`. Raises: DeliveryError."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise DeliveryError(Failure.AUTH, f"cannot read ca_file {ca_file} ({type(error).__name__})") from error
    return context


def _sign_in(session: smtplib.SMTP, server: SmtpServer) -> None:
    """Authenticate. Raises: DeliveryError."""
    try:
        if (server.user + server.password).isascii():
            session.login(server.user, server.password)
        else:
            _auth_plain(session, server)
    except smtplib.SMTPAuthenticationError as error:
        # Without the text of the reply, because some servers repeat the credentials in it.
        code = int(error.smtp_code)
        failure = failure_of_reply(code, "", about_us=True) if 400 <= code < 600 else Failure.UNREACHABLE
        raise DeliveryError(failure, f"{server.host} refuses the sign-in ({code})") from None
    except smtplib.SMTPNotSupportedError:
        raise DeliveryError(Failure.AUTH, f"{server.host} offers no sign-in on this connection") from None
    except smtplib.SMTPServerDisconnected as error:
        raise DeliveryError(Failure.UNREACHABLE, f"{server.host} closed the connection at the sign-in") from error
    except smtplib.SMTPException:
        raise DeliveryError(Failure.AUTH, f"{server.host} offers no supported sign-in method") from None


def _auth_plain(session: smtplib.SMTP, server: SmtpServer) -> None:
    """Authenticate by PLAIN in UTF-8 (RFC 4616), because `smtplib.login` supports only ASCII.

    Raises:
        smtplib.SMTPException, OSError: as `smtplib.login`.
    """
    if "PLAIN" not in session.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError
    credentials = base64.b64encode(f"\0{server.user}\0{server.password}".encode()).decode("ascii")
    code, text = session.docmd("AUTH", f"PLAIN {credentials}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, text)


class _Session(smtplib.SMTP):
    """A session that ends at a deadline and limits the length of replies."""

    def __init__(self, deadline: Deadline, *arguments: Any, **options: Any) -> None:
        self._deadline = deadline
        super().__init__(*arguments, **options)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Called by smtplib to connect."""
        return self._deadline.connect(host, port, seconds=timeout)

    def getreply(self) -> Reply:
        """Read one reply. smtplib's own method has no limit, and accepts a line that was cut off.

        Raises:
            smtplib.SMTPServerDisconnected: the reply did not arrive, is incomplete or too long.
        """
        try:
            return self._read_reply()
        except (OSError, ValueError) as error:  # ValueError: another thread has closed the file
            self.close()
            raise smtplib.SMTPServerDisconnected(str(error)) from error

    def _read_reply(self) -> Reply:
        if self.file is None:
            if self.sock is None:
                raise OSError("the connection is closed")
            self.file = self.sock.makefile("rb")
        texts: list[bytes] = []
        while len(texts) < _MAX_LINES:
            line = bytes(self.file.readline(_MAX_LINE_BYTES))
            if not line.endswith(b"\n"):
                raise OSError("the reply was cut off, or a line is too long")
            texts.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]) if line[:3].isdigit() else -1, b"\n".join(texts)
        raise OSError("the reply has too many lines")


class _TlsSession(smtplib.SMTP_SSL, _Session):
    """A session with TLS from the start."""

    def __init__(self, deadline: Deadline, *arguments: Any, **options: Any) -> None:
        self._deadline = deadline  # `SMTP_SSL.__init__` does not call that of `_Session`
        super().__init__(*arguments, **options)


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
