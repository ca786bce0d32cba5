"""Messages to a channel of a Discord server, through an incoming webhook.

Source: https://discord.com/developers/docs/resources/webhook#execute-webhook
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.core.text import hostname
from syftnotify.transports.http_client import Response
from syftnotify.transports.http_transport import HttpTransport, error_from_response, redacted_body, secrets_of

# The webhook was deleted or its token is wrong, so every later message would fail, too.
# Source: https://discord.com/developers/docs/topics/opcodes-and-status-codes (10015, 50027)
_GONE_STATUSES = frozenset({401, 404})
_MAX_WAIT = 7 * 86400.0  # seconds


class DiscordTransport(HttpTransport):
    """Posts each message with an embed that has its colour and subject."""

    def __init__(self, url: str, *, username: str, timeout: float, clock: Callable[[], float]) -> None:
        """`username` is shown beside each message; `timeout` is in seconds."""
        super().__init__(_url_with_wait(url), timeout=timeout, clock=clock)
        self._secrets = secrets_of(url)
        self._username = username

    def send(self, message: Message) -> Receipt:
        """Make one attempt. Raises: DeliveryError."""
        content = {
            "content": message.text,
            "username": self._username,
            "embeds": [{"description": message.subject, "color": _number(message.colour)}],
            "allowed_mentions": {"parse": []},  # mentions in the text have no effect
        }
        response = self.post(json.dumps(content).encode("ascii"), {"content-type": "application/json"})
        if not 200 <= response.status < 300:
            failure = Failure.GONE if response.status in _GONE_STATUSES else None
            raise error_from_response(
                _with_retry_after(response), hostname(self._url), self._clock(), self._secrets, failure=failure
            )
        if response.text.lstrip().startswith("<"):  # HTML comes from a proxy or a captive portal
            text = redacted_body(response, self._secrets)
            raise DeliveryError(
                Failure.UNKNOWN, f"{hostname(self._url)} answered {response.status} with a page: {text}"
            )
        return Receipt(provider_id=str(_json(response).get("id") or ""))


def _url_with_wait(url: str) -> str:
    """`url` with `wait=true`; without it Discord responds before the message is saved and does not report errors."""
    parts = urlsplit(url)
    others = [item for item in parts.query.split("&") if item and item.partition("=")[0] != "wait"]
    return urlunsplit(parts._replace(query="&".join([*others, "wait=true"])))


def _number(colour: str) -> int:
    """`#rrggbb` as a number, 0 for no colour."""
    return int(colour.removeprefix("#") or "0", 16)


def _json(response: Response) -> dict[str, Any]:
    """The JSON object in a response; empty if there is none, as for status 204."""
    try:
        found = json.loads(response.text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _with_retry_after(response: Response) -> Response:
    """`response` with the longest of the waits that it names as its `Retry-After`, in whole seconds.

    Source: https://discord.com/developers/docs/topics/rate-limits
    """
    waits = list(_waits(response))
    if not waits:
        return response
    wait = math.ceil(min(max(waits), _MAX_WAIT))
    return replace(response, headers={**response.headers, "retry-after": str(wait)})


def _waits(response: Response) -> Iterator[float]:
    """The waits, in seconds, that a response names: `retry_after` in the body, and headers."""
    is_exhausted = response.headers.get("x-ratelimit-remaining") == "0"
    named: list[Any] = [
        _json(response).get("retry_after"),
        response.headers.get("retry-after"),
        response.headers.get("x-ratelimit-reset-after") if is_exhausted else None,
    ]
    for value in named:
        try:
            wait = float(value)
        except (TypeError, ValueError, OverflowError):  # missing, a date (`error_from_response` reads it), or too large
            continue
        if wait >= 0 and not isinstance(value, bool):
            yield wait
