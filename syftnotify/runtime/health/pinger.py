"""Pings of a dead man's switch, sent in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from syftnotify.core.errors import DeliveryError

log = logging.getLogger(__name__)

_MIN_SECONDS = 10.0  # between two pings, however frequent the scans are


class Pinger:
    """Sends pings, one at a time."""

    def __init__(self, url: str | None, *, monotonic: Callable[[], float]) -> None:
        """`url` is requested for each ping; None for no pings."""
        self._url = url
        self._monotonic = monotonic
        self._pinged_at: float | None = None
        self._thread: threading.Thread | None = None

    def ping(self) -> None:
        """Start a ping, unless the last one was just sent or is still in progress."""
        now = self._monotonic()
        if not self._url or (self._pinged_at is not None and now - self._pinged_at < _MIN_SECONDS):
            return
        if self._thread is None or not self._thread.is_alive():
            self._pinged_at = now
            self._thread = threading.Thread(target=_ping, args=(self._url,), name="ping", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait for a ping in progress."""
        if self._thread is not None:
            self._thread.join()


def _ping(url: str) -> None:
    from syftnotify.transports.ping import ping

    started = time.monotonic()
    try:
        ping(url)
    except DeliveryError as error:
        log.warning("heartbeat ping failed: %s", error)
    else:
        log.debug("heartbeat ping took %.3f s", time.monotonic() - started)
