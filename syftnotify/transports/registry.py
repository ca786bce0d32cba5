"""One attempt through one transport; what an error means is `policy`'s business alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from syftnotify.config.schema import Gmail, Slack, Smtp, Webhook
from syftnotify.config.schema import Transport as SettingsOf
from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.ports import Transport


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
        if error.failure is not Failure.TOKEN_REFRESHED:
            raise
    return transport.send(message)


def transport_for(settings: SettingsOf, *, clock: Callable[[], float] = time.time) -> Transport:
    """The transport that a section of the configuration describes."""
    if isinstance(settings, Gmail):
        from syftnotify.transports.gmail.sending import GmailTransport

        return GmailTransport(
            settings.token, api_endpoint=settings.api_endpoint, timeout=settings.timeout_secs, clock=clock
        )
    if isinstance(settings, Slack):
        from syftnotify.transports.slack.sending import SlackTransport

        return SlackTransport(settings, clock=clock)
    if isinstance(settings, Webhook):
        from syftnotify.transports.webhook.sending import WebhookTransport

        return WebhookTransport(settings, clock=clock)
    if isinstance(settings, Smtp):
        from syftnotify.transports.smtp.sending import SmtpTransport

        return SmtpTransport(settings, clock=clock)
    from syftnotify.transports.maildir.sending import MaildirTransport

    return MaildirTransport(settings.path, clock=clock)
