"""Replies of an SMTP server, and the errors that they mean."""

from __future__ import annotations

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.retry import failure_of_reply, is_about_recipient
from syftnotify.core.text import escape, redact
from syftnotify.transports.deadline import Deadline
from syftnotify.transports.smtp.server import SmtpServer

Reply = tuple[int, bytes]  # code (-1 if there is none) and text, as smtplib returns them
_MAX_TEXT = 200  # characters


def check_message_reply(reply: Reply, server: SmtpServer, *, code: int = 250) -> None:
    """Raise an error unless the server accepted a command that belongs to a message.

    `code` is the expected reply. 251 ("will forward") and 252 ("cannot verify, will try") count as 250.

    Raises:
        DeliveryError: the message was rejected, or the reply was not understood.
    """
    number, content = reply
    if number == code or (code == 250 and number in {251, 252}):
        return
    text = _redacted(content, server)
    if not 400 <= number < 600:
        raise DeliveryError(Failure.UNREACHABLE, f"the reply of {server.host} was not understood ({number})")
    raise DeliveryError(
        failure_of_reply(number, text),
        f"{server.host} answered {number} {text}",
        is_about_recipient=is_about_recipient(text),
    )


def check_session_reply(reply: Reply, code: int, server: SmtpServer, step: str) -> None:
    """Raise an error unless the reply to `step` has `code`. A rejection concerns the session, not a message.

    Raises:
        DeliveryError: UNREACHABLE, AUTH or QUOTA.
    """
    if reply[0] != code:
        raise session_error(reply, server, step)


def session_error(reply: Reply, server: SmtpServer, step: str) -> DeliveryError:
    """The error if the server rejects `step`, which is needed to open a session."""
    number, content = reply
    text = _redacted(content, server)
    failure = failure_of_reply(number, text, about_us=True) if 400 <= number < 600 else Failure.UNREACHABLE
    return DeliveryError(failure, f"{server.host} answered {step} with {number} {text}")


def network_reason(error: Exception, deadline: Deadline) -> str:
    """The cause of a lost connection, without text of the server."""
    return "timed out" if deadline.has_passed or isinstance(error, TimeoutError) else type(error).__name__


def _redacted(content: bytes, server: SmtpServer) -> str:
    """The text of a reply on one line, without the password, which servers may repeat."""
    text = content.decode("utf-8", "replace").replace("\n", " ")
    return escape(redact(text, [server.password]), limit=_MAX_TEXT)
