"""Protocols between the packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from syftnotify.core.models import Item, Message, Receipt


class Renderer(Protocol):
    """Renders notifications for one transport."""

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The message to `recipient` about all `items`; `digest` is its id if it is a digest."""


class Transport(Protocol):
    """One call is one attempt. When to retry is decided by `delivery`."""

    def check(self) -> None:
        """Find out whether sending would work, without sending.

        Raises:
            DeliveryError: it would not.
        """

    def send(self, message: Message) -> Receipt:
        """Deliver the message.

        Raises:
            DeliveryError: it was not accepted, or the outcome is unknown; see `.failure`.
        """

    def close(self) -> None:
        """Release what was kept for the next message."""
