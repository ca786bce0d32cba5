"""Pings of a dead man's switch: a monitor that alerts when no requests to its URL arrive."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.text import hostname
from syftnotify.transports.http_client import request

_TIMEOUT_SECONDS = 10.0


def server_time(url: str) -> float | None:
    """The `Date` header of the response of `url` in seconds since 1970; None if there is none."""
    try:
        response = request("HEAD", url, seconds=_TIMEOUT_SECONDS)
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (DeliveryError, KeyError, ValueError, OverflowError):
        return None


def ping(url: str) -> None:
    """Send one GET request to `url`.

    Raises:
        DeliveryError: no response, or not a 2xx status. The message contains only the host: the path is often a secret.
    """
    response = request("GET", url, seconds=_TIMEOUT_SECONDS)
    if not 200 <= response.status < 300:
        raise DeliveryError(Failure.PERMANENT, f"{hostname(url)} answered {response.status}")
