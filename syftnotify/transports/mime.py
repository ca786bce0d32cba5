"""Messages as MIME, with the headers of automatic mail."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.identifiers import is_address
from syftnotify.core.models import Message
from syftnotify.core.text import escape

# The domain of the references of a conversation, which no mail has as its own id, so that they do not change with the
# sender or the version. Also that of ids without a sender.
DOMAIN = "syftnotify.local"
SENDER_NAME = "SyftBox"
_SUBJECT_LIMIT = 200  # characters
_VALUE_LIMIT = 2000  # characters of any other header
_LONGEST_LINE = 998  # characters, RFC 5322


class _Policy(EmailPolicy):
    """Keeps `X-` headers on one line: users filter by them, and folding would encode long values."""

    def fold(self, name: str, value: Any) -> str:
        line = f"{name}: {value}"
        if name.lower().startswith("x-") and line.isascii() and len(line) <= _LONGEST_LINE:
            return line + self.linesep
        folded: str = super().fold(name, value)
        return folded

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("ascii", "surrogateescape")


_POLICY = _Policy(linesep="\r\n", cte_type="7bit")  # 7-bit mail is accepted by every relay


def build_mime(message: Message, *, date: float | None = None) -> EmailMessage:
    """`message` as one mail: multipart/alternative with the text first, or a single part if it has only one.

    `date` is in seconds since 1970; None: now. Control characters in header values are escaped, and long values cut.

    Raises:
        DeliveryError: PERMANENT, the recipient is not one bare address.
    """
    if not is_address(message.recipient):
        why = f"{escape(message.recipient, limit=80)!r} is not one mail address"
        raise DeliveryError(Failure.PERMANENT, why, is_local=True)
    text, html = (part.encode("utf-8", "replace").decode("utf-8") for part in (message.text, message.html))
    mail = EmailMessage(policy=_POLICY)
    if message.sender:
        user, _, domain = message.sender.rpartition("@")
        mail["From"] = Address(message.sender_name or SENDER_NAME, user, domain)
    mail["To"] = message.recipient
    if is_address(message.reply_to):
        mail["Reply-To"] = message.reply_to
    mail["Subject"] = _header(message.subject, _SUBJECT_LIMIT)
    mail["Date"] = format_datetime(datetime.fromtimestamp(time.time() if date is None else date, UTC))
    sender_domain = message.sender.rpartition("@")[2] or DOMAIN
    if message.id:
        mail["Message-ID"] = f"<{message.id}@{message.domain or sender_domain}>"
    if message.conversation:
        root = f"<{message.conversation}@{DOMAIN}>"
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834
    mail["X-Auto-Response-Suppress"] = "All"
    mail["List-Id"] = f"{SENDER_NAME} notifications <notifications.{sender_domain}>"
    for name, value in message.headers:
        mail[name] = _header(value, _VALUE_LIMIT)
    if text or not html:
        mail.set_content(text)
        if html:
            mail.add_alternative(html, subtype="html")
    else:
        mail.set_content(html, subtype="html")
    return mail


def _header(value: str, limit: int) -> str:
    """An external value as one header line of at most `limit` characters, without encoded words (RFC 2047).

    `EmailMessage` decodes these, and a line end hidden in one would start another header.
    """
    return escape(value, limit=limit).replace("=?", "= ?")
