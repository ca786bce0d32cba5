"""Lines in a Slack workspace, through its incoming webhook.

Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from syftnotify.config import Slack
from syftnotify.deliver.http import Endpoint, refusal, secrets_of, words_of
from syftnotify.errors import DeliveryError, Failure
from syftnotify.model import Message, Receipt
from syftnotify.text import host_of


class SlackTransport(Endpoint):
    """Posts each message as one line with a bar in its colour."""

    def __init__(self, settings: Slack, *, clock: Callable[[], float]) -> None:
        super().__init__(settings, clock=clock)
        self._settings = settings

    def send(self, message: Message) -> Receipt:
        """One attempt. Raises: DeliveryError."""
        words: dict[str, Any] = {
            "text": message.text,
            "attachments": [{"color": message.colour, "fallback": message.text, "footer": message.subject}],
            "username": self._settings.username,
            "icon_emoji": self._settings.icon_emoji,
        }
        if message.recipient[:1] in {"#", "@"}:  # else: the channel that the webhook was made for
            words["channel"] = message.recipient
        answer = self.post(json.dumps(words).encode("ascii"), {"content-type": "application/json"})
        host = host_of(self._url)
        if not 200 <= answer.status < 300:
            raise refusal(answer, host, self._clock(), secrets_of(self._url))
        # Slack says `ok`, what speaks like it says other things, and a page is somebody in between.
        if answer.text.lstrip().startswith("<"):
            said = words_of(answer, secrets_of(self._url))
            raise DeliveryError(Failure.UNKNOWN, f"{host} answered {answer.status} with a page: {said}")
        return Receipt()
