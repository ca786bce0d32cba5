"""The transports that can send at the moment."""

from __future__ import annotations

from collections.abc import Callable, Collection

from syftnotify.delivery.dispatcher import Dispatcher


class TransportAvailability:
    """Availability of all transports, including the endpoints of alert rules, which are not in `configured`."""

    def __init__(self, dispatcher: Dispatcher, configured: Collection[str], monotonic: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._configured = configured
        self._monotonic = monotonic

    def reasons(self) -> dict[str, str]:
        """Why each transport cannot send, by name; empty if it can."""
        now = self._monotonic()
        return {name: queue.health.unavailable_reason(now) for name, queue in self._dispatcher.queues.items()}

    def are_all_available(self) -> bool:
        """Whether all configured transports can send."""
        reasons = self.reasons()
        return not any(reasons[name] for name in self._configured)

    def is_any_failing(self) -> bool:
        """Whether some transport failed since its last success, for however short a time."""
        return any(not queue.health.is_healthy for queue in self._dispatcher.queues.values())

    def choose(self, *, exclude: Collection[str]) -> str:
        """A configured transport that can send, preferably one that people read; empty if there is none."""
        reasons, queues = self.reasons(), self._dispatcher.queues
        available = [name for name in self._configured if name not in exclude and not reasons[name]]
        return min(available, key=lambda name: not queues[name].options.allows_digest, default="")
