"""Claims of due notifications."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from syftnotify.core.outbox import ClaimedNotification, NotificationQueue
from syftnotify.core.text import plural
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_queue import TransportQueue

log = logging.getLogger(__name__)

_CLOCK_TOLERANCE = 60.0  # seconds


class Claims:
    """Claims due notifications of a queue for this worker."""

    def __init__(self, notifications: NotificationQueue, throttling: Throttling, worker_id: str) -> None:
        self._notifications = notifications
        self._throttling = throttling
        self._worker_id = worker_id

    def claim(self, queue: TransportQueue, now: float, limit: int) -> list[list[ClaimedNotification]]:
        """Claim at most `limit` messages that are due at `now`, and count them in the throttles.

        Returns the notifications of each message.

        Raises:
            StateError: the outbox cannot be used; nothing was claimed.
        """
        claim = partial(
            self._notifications.claim,
            queue.name,
            now,
            worker_id=self._worker_id,
            limit=limit,
            resend=queue.options.resend_unknown,
        )
        if not queue.options.allows_digest:
            return claim()
        throttle = self._throttling.for_claim(queue, now)
        try:
            return claim(throttle=throttle)
        except BaseException:  # nothing was claimed
            throttle.undo()
            raise

    def next_due(self, queue: TransportQueue, now: float) -> float | None:
        """The earliest time at which a notification of `queue` may be sent, as `NotificationQueue.next_due`."""
        return self._notifications.next_due(queue.name, now, resend=queue.options.resend_unknown)


class ClockGuard:
    """Shortens waits of notifications that were computed while the clock was wrong."""

    def __init__(
        self, notifications: NotificationQueue, *, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._notifications = notifications
        self._clock = clock
        self._monotonic = monotonic
        self._offset: float | None = None  # largest difference between wall clock and monotonic clock so far

    def check(self) -> None:
        """Shorten waits that are too long, at the first call and after the clock was set back. Raises: StateError."""
        offset = self._clock() - self._monotonic()
        if self._offset is None or self._offset - offset > _CLOCK_TOLERANCE:
            if moved := self._notifications.bound_waits(self._clock()):
                log.warning("the clock was set back: %s waited too long", plural(moved, "notification"))
            self._offset = offset
        self._offset = max(self._offset, offset)
