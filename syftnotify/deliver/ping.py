"""A sign of life to a dead-man switch: any monitor that counts visits to an address."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from syftnotify.errors import DeliveryError, Failure

_SECONDS = 10.0


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
