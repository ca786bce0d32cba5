"""Messages to a Slack workspace, through an incoming webhook.

Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.text import hostname
from syftnotify.transports.http_client import Response
from syftnotify.transports.http_transport import HttpTransport, error_from_response, redacted_body, secrets_of

# Slack names the reason of an error in the body; the status alone is misleading (`channel_is_archived` has 410,
# `no_service` has 404). The class of any other response follows from its status.
# Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_RECIPIENT_REASONS = frozenset(
    [
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "posting_to_general_channel_denied",
        "user_not_found",
    ]
)
_FAILURES = {
    # About one recipient or one message.
    "action_prohibited": Failure.PERMANENT,
    "channel_is_archived": Failure.PERMANENT,
    "channel_not_found": Failure.PERMANENT,
    "invalid_payload": Failure.PERMANENT,
    "no_text": Failure.PERMANENT,
    "posting_to_general_channel_denied": Failure.PERMANENT,
    "too_many_attachments": Failure.PERMANENT,
    "user_not_found": Failure.PERMANENT,
    # About the webhook, and so about every recipient.
    "invalid_token": Failure.GONE,
    "no_active_hooks": Failure.GONE,
    "no_service": Failure.GONE,
    "no_service_id": Failure.GONE,
    "no_team": Failure.GONE,
    "team_disabled": Failure.GONE,
}


class SlackTransport(HttpTransport):
    """Posts each message with an attachment that has its colour and subject."""

    def __init__(self, url: str, *, username: str, icon_emoji: str, timeout: float, clock: Callable[[], float]) -> None:
        """`username` and `icon_emoji` are shown beside each message; `timeout` is in seconds."""
        super().__init__(url, timeout=timeout, clock=clock)
        self._sender = {"username": username, "icon_emoji": icon_emoji}

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        content: dict[str, Any] = {
            "text": message.text,
            "attachments": [{"color": message.colour, "fallback": message.text, "footer": message.subject}],
            **self._sender,
        }
        if message.recipient[:1] in {"#", "@"}:  # otherwise the channel of the webhook
            content["channel"] = message.recipient
        response = self.post(json.dumps(content).encode("ascii"), {"content-type": "application/json"})
        host = hostname(self._url)
        reason = _reason(response)
        failure = _FAILURES.get(reason)
        if failure is not None or not 200 <= response.status < 300:
            raise error_from_response(
                response,
                host,
                self._clock(),
                secrets_of(self._url),
                failure=failure,
                is_about_recipient=reason in _RECIPIENT_REASONS,
            )
        # Slack responds with `ok`, compatible servers with other texts. HTML comes from a proxy or a captive portal.
        if response.text.lstrip().startswith("<"):
            text = redacted_body(response, secrets_of(self._url))
            raise DeliveryError(Failure.UNKNOWN, f"{host} answered {response.status} with a page: {text}")
        return Receipt()


def _reason(response: Response) -> str:
    """The reason of an error: the whole body, or `error` of a JSON object, as workflow triggers return."""
    text = response.text.strip()
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            return str(json.loads(text).get("error", ""))
    return text
