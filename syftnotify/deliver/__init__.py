"""One attempt through one transport; what an error means is `policy`'s business alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from syftnotify.config import Gmail, Slack, Smtp, Webhook
from syftnotify.config import Transport as SettingsOf
from syftnotify.errors import DeliveryError, Failure
from syftnotify.model import Message, Receipt


class Transport(Protocol):
    """One call is one attempt; when and how often to try again is the dispatcher's business."""

    def check(self) -> None:
        """Find out whether sending could work, without sending.

        Raises:
            DeliveryError: it could not.
        """

    def send(self, message: Message) -> Receipt:
        """Hand the message over.

        Raises:
            DeliveryError: it was not handed over, or nobody can know; `.failure` says which.
        """

    def close(self) -> None:
        """Let go of what was kept for the next message."""


class _Sends(Protocol):
    def send(self, message: Message) -> Receipt: ...


def send_now(transport: _Sends, message: Message) -> Receipt:
    """Hand over a message that nobody queues: one attempt, and a second one when only the sign-in was stale.

    Raises:
        DeliveryError: as `Transport.send`.
    """
    try:
        return transport.send(message)
    except DeliveryError as error:
        if error.failure is not Failure.RENEWED:
            raise
    return transport.send(message)


def transport_for(settings: SettingsOf, *, clock: Callable[[], float] = time.time) -> Transport:
    """The transport that a section of the configuration describes."""
    if isinstance(settings, Gmail):
        from syftnotify.deliver.gmail import GmailTransport

        return GmailTransport(
            settings.token, api_endpoint=settings.api_endpoint, read_seconds=settings.timeout_secs, clock=clock
        )
    if isinstance(settings, Slack):
        from syftnotify.deliver.slack import SlackTransport

        return SlackTransport(settings, clock=clock)
    if isinstance(settings, Webhook):
        from syftnotify.deliver.webhook import WebhookTransport

        return WebhookTransport(settings, clock=clock)
    if isinstance(settings, Smtp):
        from syftnotify.deliver.smtp import SmtpTransport

        return SmtpTransport(settings, clock=clock)
    from syftnotify.deliver.maildir import MaildirTransport

    return MaildirTransport(settings.path, clock=clock)
