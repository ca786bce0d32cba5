"""Sending a message without the outbox."""

from __future__ import annotations

from typing import Protocol

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt


class Sender(Protocol):
    """The part of a transport that sends."""

    def send(self, message: Message) -> Receipt: ...


def send_now(sender: Sender, message: Message) -> Receipt:
    """Send `message` in one attempt; a second one follows only if the access token had to be refreshed.

    Raises:
        DeliveryError: as `Transport.send`.
    """
    try:
        return sender.send(message)
    except DeliveryError as error:
        if error.failure is not Failure.CORRECTED:
            raise
    return sender.send(message)
