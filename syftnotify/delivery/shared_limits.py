"""Rate limits and pauses that the workers of one outbox share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from syftnotify.core.cluster import SharedTransports, TransportPause
from syftnotify.core.errors import Failure, StateError
from syftnotify.delivery.transport_queue import RateLimit, TransportQueue

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0  # between two reads of the pauses of other workers


class _SharedTokenBucket:
    """The rate limit of a transport of which several workers take tokens."""

    def __init__(self, shared: SharedTransports, transport: str, rate: float, burst: int) -> None:
        self._shared = shared
        self._transport = transport
        self._rate = rate
        self._burst = burst
        self._free_at = 0.0  # as far as this worker knows, on the monotonic clock

    def wait(self, monotonic: float) -> float:
        """Seconds until it is worth asking for a token."""
        return max(0.0, self._free_at - monotonic)

    def take(self, wanted: int, monotonic: float) -> int:
        taken, wait = self._shared.take_permits(self._transport, self._rate, self._burst, wanted)
        self._free_at = monotonic + wait
        return taken

    def give_back(self, count: int) -> None:
        if count:
            self._shared.return_permits(self._transport, self._rate, count)
            self._free_at = 0.0


class WorkerLimits:
    """Implements `SharedLimits` for one worker; used by its scheduling thread and by those of its attempts."""

    def __init__(self, shared: SharedTransports, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._shared = shared
        self._clock = clock
        self._monotonic = monotonic
        self._refreshed_at = float("-inf")

    def rate_limit(self, transport: str, rate: float, burst: int) -> RateLimit:
        return _SharedTokenBucket(self._shared, transport, rate, burst)

    def pause(self, transport: str, seconds: float, failure: Failure, reason: str) -> None:
        try:
            self._shared.pause(transport, TransportPause(self._clock() + seconds, reason, failure))
        except StateError as error:
            log.warning("the pause of transport %s is not stored for other workers yet: %s", transport, error)

    def end_pause(self, transport: str) -> None:
        try:
            self._shared.end_pause(transport)
        except StateError as error:  # the next message that is sent after their pause ends it for them too
            log.warning("that transport %s works again is not stored for other workers yet: %s", transport, error)

    def refresh(self, queues: Iterable[TransportQueue]) -> None:
        """Take over what other workers have paused, about once a second. Raises: StateError."""
        monotonic = self._monotonic()
        if monotonic - self._refreshed_at < _REFRESH_SECONDS:
            return
        self._refreshed_at = monotonic
        pauses = self._shared.pauses()
        for queue in queues:
            pause = pauses.get(queue.name)
            if pause is not None:
                queue.health.follow(pause, monotonic + pause.until - self._clock())
            elif queue.health.is_following and queue.health.record_success(monotonic):
                log.info("transport %s works again, as another worker reports", queue.name)
