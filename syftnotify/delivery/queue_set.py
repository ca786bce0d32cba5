"""The queues of all transports and the permits that they share."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from syftnotify.delivery.transport_queue import TransportQueue


class QueueSet:
    """Transport queues that share `max_concurrent` permits.

    A permit is held by an attempt or a check in progress, never by a wait.
    """

    def __init__(self, queues: Iterable[TransportQueue], max_concurrent: int) -> None:
        self.max_concurrent = max_concurrent
        self._by_name = {queue.name: queue for queue in queues}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[TransportQueue]:
        return iter(self._by_name.values())

    @property
    def by_name(self) -> Mapping[str, TransportQueue]:
        """The queues by transport name, as of now: a queue added later is not in it."""
        return self._by_name

    def add(self, queue: TransportQueue) -> None:
        """Add a queue; also allowed while others are in use."""
        with self._lock:
            self._by_name = {**self._by_name, queue.name: queue}  # a copy, because other threads may iterate over it

    @property
    def in_flight(self) -> int:
        """Attempts and checks in progress."""
        return sum(queue.in_flight for queue in self)

    @property
    def is_full(self) -> bool:
        """Whether all permits are held."""
        return self.in_flight >= self.max_concurrent

    def free_slots(self, queue: TransportQueue) -> int:
        """How many more attempts `queue` may start; may be negative.

        One permit is reserved for each other queue that has nothing in progress, so that a transport that hangs does
        not delay them.
        """
        free = self.max_concurrent - self.in_flight
        idle = sum(1 for other in self if other is not queue and not other.in_flight)
        unreserved = max(free - idle, 0 if queue.in_flight else 1)
        return min(self._share(queue) - queue.in_flight, free, unreserved)

    def _share(self, queue: TransportQueue) -> int:
        """The maximum number of attempts of `queue` at once: one after timeouts or in a pause, otherwise half of all.

        Half even while the other queues are idle: an attempt that hangs cannot be ended when they have work again. All
        if there are no others.
        """
        if queue.health.is_degraded or queue.health.pause_reason:
            return 1
        return self.max_concurrent if len(self._by_name) == 1 else max(1, self.max_concurrent // 2)
