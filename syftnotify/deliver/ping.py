"""A sign of life to a dead-man switch: any monitor that counts visits to an address."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from syftnotify.errors import DeliveryError, Failure

_SECONDS = 10.0


def server_time(url: str) -> float | None:
    """What time it is at `url`, in seconds since 1970; None when it does not say."""
    try:
        answer = httpx.head(url, timeout=_SECONDS, follow_redirects=False)
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (httpx.HTTPError, KeyError, ValueError):
        return None


def ping(url: str) -> None:
    """Fetch `url` once; no redirect is followed.

    Raises:
        DeliveryError: it did not answer with success. The text names the host alone: the path is often the password.
    """
    host = urlsplit(url).hostname
    try:
        answer = httpx.get(url, timeout=_SECONDS, follow_redirects=False)
    except httpx.HTTPError as error:
        raise DeliveryError(Failure.NO_ANSWER, f"{host} could not be reached ({type(error).__name__})") from error
    if not answer.is_success:
        raise DeliveryError(Failure.REFUSED, f"{host} answered {answer.status_code}")
