"""Requests to an HTTP endpoint, signed if there is a secret.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

from syftnotify.core.models import Message, Receipt
from syftnotify.core.text import hostname
from syftnotify.transports.http_transport import HttpTransport, error_from_response, secrets_of


class WebhookTransport(HttpTransport):
    """Posts each message as one request. Its id is the same in each attempt."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secret: str | None,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        """`headers` are added to each request; `secret` signs it; `timeout` is in seconds."""
        super().__init__(url, timeout=timeout, clock=clock)
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._secret = secret

    def send(self, message: Message) -> Receipt:
        """One attempt. Raises: DeliveryError."""
        now = self._clock()
        headers = {
            "content-type": "application/json",
            **self._headers,  # in lower case, so that they replace these in any spelling
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now)),
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, message.id, int(now), message.body)
        response = self.post(message.body, headers)
        if not 200 <= response.status < 300:
            given = list(self._headers.values())
            secrets = [*secrets_of(self._url), *given, *(part for value in given for part in value.split())]
            raise error_from_response(
                response, hostname(self._url), now, [*secrets, headers.get("webhook-signature", "")]
            )
        return Receipt()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64 of HMAC-SHA256>` over the id, the time in seconds since 1970, and the body.

    The secret is base64, with or without the prefix `whsec_`. Any other text is used as it is.
    """
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = text.encode("utf-8")
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode("ascii") + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode("ascii")
