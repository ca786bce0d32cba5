"""Ping of a dead-man switch: any monitor that counts requests to an address."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.text import hostname
from syftnotify.transports.http_client import address_of, request

_SECONDS = 10.0


def server_time(url: str) -> float | None:
    """The time at `url` by its `Date` header, in seconds since 1970; None when there is none."""
    try:
        answer = request("HEAD", address_of(url), seconds=_SECONDS)
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (DeliveryError, KeyError, ValueError, OverflowError):
        return None


def ping(url: str) -> None:
    """Fetch `url` once; no redirect is followed.

    Raises:
        DeliveryError: it did not answer with success. The text names the host alone: the path is often the password.
    """
    answer = request("GET", address_of(url), seconds=_SECONDS)
    if not 200 <= answer.status < 300:
        raise DeliveryError(Failure.PERMANENT, f"{hostname(url)} answered {answer.status}")
