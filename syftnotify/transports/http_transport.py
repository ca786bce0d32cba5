"""What the transports of the web share: one address, and what a response other than success means."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import parse_qsl, unquote, urlsplit

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.retry import failure_of_status, retry_after
from syftnotify.core.text import escape, redact
from syftnotify.transports.http_client import Address, Answer, address_of, escaped, reach, request


class HttpTransport:
    """A transport with one address, and a new connection for each attempt."""

    def __init__(self, url: str, *, seconds: float, clock: Callable[[], float]) -> None:
        """`seconds` is the time limit of one request."""
        self._url = url
        self._seconds = seconds
        self._clock = clock

    @cached_property
    def _address(self) -> Address:
        return address_of(self._url)

    def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """One request. Raises: DeliveryError, as `request` does."""
        return request("POST", self._address, content, headers, seconds=self._seconds)

    def check(self) -> None:
        """Connect, without sending: there is no request that posts nothing. Raises: DeliveryError."""
        reach(self._url, seconds=self._seconds)

    def close(self) -> None:
        """Nothing is kept."""


def words_of(answer: Answer, secrets: Iterable[str]) -> str:
    """The text of a response on one line, without `secrets`, which it may repeat."""
    return escape(redact(" ".join(answer.text.split()), secrets), limit=120)


def secrets_of(url: str) -> list[str]:
    """The secret parts of an address: its path, each part of it, its query and sign-in; as written, meant and sent."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query, keep_blank_values=True)]
    way_in = parts.netloc.rpartition("@")[0]
    written = [url, parts.path.lstrip("/"), *parts.path.split("/"), parts.query, *values, parts.password or "", way_in]
    meant = [*map(unquote, written)]
    return [*written, *meant, *map(escaped, meant), base64.b64encode(meant[-1].encode()).decode("ascii")]


def refusal(
    answer: Answer,
    host: str,
    now: float,
    secrets: Iterable[str],
    *,
    failure: Failure | None = None,
    is_about_recipient: bool = False,
) -> DeliveryError:
    """The meaning of a response other than success; `now` is in seconds since 1970.

    `failure` is for a transport whose peer names the reason; otherwise the status decides.
    """
    words = words_of(answer, secrets)
    by_status = Failure.GONE if answer.status == 410 else failure_of_status(answer.status)
    return DeliveryError(
        failure or by_status,
        f"{host} answered {answer.status} {words}".rstrip(),
        not_before=retry_after(answer.headers.get("retry-after"), datetime.fromtimestamp(now, UTC)),
        is_about_recipient=is_about_recipient,
    )
