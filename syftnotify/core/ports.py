"""Protocols between the packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from syftnotify.core.models import Item, Message, Receipt


class Renderer(Protocol):
    """Renders notifications for one transport."""

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The message to `recipient` about all `items`; `digest` is its id if it is a digest.

        Raises:
            DeliveryError: the message cannot be rendered.
        """


class Transport(Protocol):
    """One call is one attempt. When to retry is decided by `delivery`."""

    def check(self) -> None:
        """Check that the transport can send, without sending.

        Raises:
            DeliveryError: it cannot.
        """

    def send(self, message: Message) -> Receipt:
        """Deliver the message.

        Raises:
            DeliveryError: it was not accepted, or the outcome is unknown; see `.failure`.
        """

    def close(self) -> None:
        """Release connections. May be called more than once."""
