"""Which transports can send at the moment."""

from __future__ import annotations

from collections.abc import Callable, Collection

from syftnotify.delivery.dispatcher import Dispatcher


class TransportAvailability:
    """Availability of all transports: the configured ones, and those for URLs of alert rules."""

    def __init__(self, dispatcher: Dispatcher, configured: Collection[str], monotonic: Callable[[], float]) -> None:
        """`configured` are the names of the transports in the configuration."""
        self._dispatcher = dispatcher
        self._configured = configured
        self._monotonic = monotonic

    def reasons(self) -> dict[str, str]:
        """Why each transport cannot send, by name; an empty text if it can."""
        now = self._monotonic()
        return {name: queue.health.unavailable_reason(now) for name, queue in self._dispatcher.queues.items()}

    def are_all_available(self) -> bool:
        """Whether all configured transports can send."""
        reasons = self.reasons()
        return not any(reasons[name] for name in self._configured)

    def is_any_failing(self) -> bool:
        """Whether a transport has failed since its last success, even if it can still send."""
        return any(not queue.health.is_healthy for queue in self._dispatcher.queues.values())

    def choose(self, *, exclude: Collection[str]) -> str:
        """A configured transport that can send, preferably one for people; empty if there is none."""
        reasons, queues = self.reasons(), self._dispatcher.queues
        available = [name for name in self._configured if name not in exclude and not reasons[name]]
        # Only transports for people allow digests.
        return min(available, key=lambda name: not queues[name].options.allows_digest, default="")
