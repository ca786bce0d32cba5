"""Base class of the transports that post to one URL, and the errors that responses mean."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.retry import failure_of_status, parse_retry_after
from syftnotify.core.text import escape, redact
from syftnotify.transports.http_client import Response, percent_encoded, probe, request, request_target

_BODY_LIMIT = 120  # characters of a response that an error message repeats


class HttpTransport:
    """A transport that posts to one URL; each attempt has a new connection."""

    def __init__(self, url: str, *, timeout: float, clock: Callable[[], float], public_only: bool = False) -> None:
        """`timeout` is the time limit of one request in seconds; `clock` gives seconds since 1970.

        `public_only` is that of `http_client.request`.
        """
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._public_only = public_only

    def post(self, content: bytes, headers: Mapping[str, str]) -> Response:
        """Send one request. Raises: DeliveryError, as `request`."""
        return request("POST", self._url, content, headers, seconds=self._timeout, public_only=self._public_only)

    def check(self) -> None:
        """Connect without a request, since any request may have effects. Raises: DeliveryError."""
        probe(self._url, seconds=self._timeout, public_only=self._public_only)

    def close(self) -> None:
        """Nothing is kept open."""


def redacted_body(response: Response, secrets: Iterable[str]) -> str:
    """The body on one line, without `secrets`, because servers repeat what they received; at most 120 characters."""
    return escape(redact(" ".join(response.text.split()), secrets), limit=_BODY_LIMIT)


def secrets_of(url: str) -> list[str]:
    """The secret parts of a URL in every spelling that a response may repeat: as configured, decoded, as sent.

    These are its credentials, path and query, and each value in them.
    """
    configured = _secret_parts(url)
    decoded = [*map(unquote, configured)]
    encoded = [*map(percent_encoded, decoded)]
    credentials = base64.b64encode(decoded[0].encode()).decode("ascii")
    return [url, *configured, *decoded, *encoded, *_secret_parts(request_target(url)), credentials]


def _secret_parts(url: str) -> list[str]:
    """Credentials, password, path, each segment of the path, query and each of its values, in this order."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query, keep_blank_values=True)]
    credentials = parts.netloc.rpartition("@")[0]
    return [credentials, parts.password or "", parts.path.lstrip("/"), *parts.path.split("/"), parts.query, *values]


def error_from_response(
    response: Response,
    host: str,
    now: float,
    secrets: Iterable[str],
    *,
    failure: Failure | None = None,
    is_about_recipient: bool = False,
) -> DeliveryError:
    """The error that a response other than 2xx means.

    Args:
        response: the response.
        host: the name of the server in the message.
        now: seconds since 1970, for a `Retry-After` in seconds.
        secrets: texts that the message must not contain.
        failure: its class, for a server that names the reason in the body; None: the status decides.
        is_about_recipient: whether the recipient is the reason.
    """
    by_status = Failure.GONE if response.status == 410 else failure_of_status(response.status)
    return DeliveryError(
        failure or by_status,
        f"{host} answered {response.status} {redacted_body(response, secrets)}".rstrip(),
        not_before=parse_retry_after(response.headers.get("retry-after"), datetime.fromtimestamp(now, UTC)),
        is_about_recipient=is_about_recipient,
    )
