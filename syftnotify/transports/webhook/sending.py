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
    """Posts the body of each message; the header `webhook-id` is the same in each attempt."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secret: str | None,
        timeout: float,
        clock: Callable[[], float],
        public_only: bool = False,
    ) -> None:
        """Set up without connecting.

        Args:
            url: the endpoint.
            headers: added to each request; they may replace `content-type`.
            secret: signs each request, see `signature`; None: not signed.
            timeout: time limit of one request, in seconds.
            clock: seconds since 1970.
            public_only: that of `http_client.request`.
        """
        super().__init__(url, timeout=timeout, clock=clock, public_only=public_only)
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._secret = secret

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        now = self._clock()
        headers = {
            "content-type": "application/json",
            **self._headers,  # names in lower case, so that a different spelling replaces `content-type`, too
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now)),
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, message.id, int(now), message.body)
        response = self.post(message.body, headers)
        if not 200 <= response.status < 300:
            # Servers may repeat a header or a part of it, such as the token after `Bearer`.
            values = [*self._headers.values(), headers.get("webhook-signature", "")]
            secrets = [*secrets_of(self._url), *values, *(part for value in values for part in value.split())]
            raise error_from_response(response, hostname(self._url), now, secrets)
        return Receipt()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 over the id, the time in seconds since 1970, and the body.

    `secret` is base64, with or without the prefix `whsec_`; any other text is the key itself.
    """
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = text.encode("utf-8")
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode("ascii") + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode("ascii")
