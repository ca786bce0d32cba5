"""Queue of one transport: its options, rate limit and health."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from syftnotify.core.errors import Failure
from syftnotify.core.outbox import ClaimedNotification
from syftnotify.core.ports import Renderer, Transport
from syftnotify.core.retry import Decision
from syftnotify.delivery.transport_health import TransportHealth

log = logging.getLogger(__name__)


class RateLimit(Protocol):
    """Rate limit of a transport: each message takes one token. Not safe to share between threads."""

    def wait(self, monotonic: float) -> float:
        """Seconds until a token may be available; 0.0 if one may be now."""

    def take(self, wanted: int, monotonic: float) -> int:
        """Take at most `wanted` tokens; returns how many there were. Raises: StateError."""

    def give_back(self, count: int) -> None:
        """Give back tokens that were not used. Raises: StateError."""


class TokenBucket:
    """The rate limit of the only worker."""

    def __init__(self, rate: float, burst: int) -> None:
        """`rate` is the number of tokens added per second, `burst` their maximum and their number at the first use."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at: float | None = None

    def wait(self, monotonic: float) -> float:
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (monotonic - self._filled_at) * self._rate)
        self._filled_at = monotonic
        return (1.0 - self._tokens) / self._rate if self._tokens < 1.0 else 0.0

    def take(self, wanted: int, monotonic: float) -> int:
        taken = 0 if self.wait(monotonic) else min(wanted, int(self._tokens))
        self._tokens -= taken
        return taken

    def give_back(self, count: int) -> None:
        self._tokens = min(self._burst, self._tokens + count)


class SharedLimits(Protocol):
    """What the workers of one outbox share about their transports; see `delivery.shared_limits`."""

    def rate_limit(self, transport: str, rate: float, burst: int) -> RateLimit:
        """The rate limit of a transport."""

    def pause(self, transport: str, seconds: float, failure: Failure, reason: str) -> None:
        """All workers pause a transport. Never raises."""

    def end_pause(self, transport: str) -> None:
        """All workers use the transport again. Never raises."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How messages are sent through a transport."""

    rate: float | None = None  # messages per second; None: no limit
    burst: int = 1  # messages that may be sent at once after a pause; only with `rate`
    max_retries: int | None = None  # retries after temporary failures; None: as many as fit into 72 hours
    daily_limit: int | None = None  # messages in 24 hours; None: no limit
    uses_threads: bool = False  # the provider groups messages into conversations and returns their ids
    allows_digest: bool = True  # recipients are people: above a threshold they get digests
    resend_unknown: bool = True  # False: a message of unknown outcome waits for a user's decision


class TransportQueue:
    """A transport with the renderer, options, health and rate limit that its attempts need.

    Attributes:
        in_flight: number of its attempts and checks in progress; `AttemptPool` counts them.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        renderer: Renderer,
        options: QueueOptions | None = None,
        *,
        renderers: Callable[[str, str], Renderer] | None = None,
    ) -> None:
        """`renderers` returns the renderer for a scope and what it has published, if the outbox has several."""
        self.name = name
        self.transport = transport
        self._renderer = renderer
        self._renderers = renderers
        self.options = options or QueueOptions()
        self.health = TransportHealth()
        self.in_flight = 0
        rate = self.options.rate
        self._bucket: RateLimit | None = None if rate is None else TokenBucket(rate, self.options.burst)
        self._shared: SharedLimits | None = None

    def share(self, limits: SharedLimits) -> None:
        """Share the rate limit and the pauses with other workers; only before the first attempt."""
        self._shared = limits
        if self.options.rate is not None:
            self._bucket = limits.rate_limit(self.name, self.options.rate, self.options.burst)

    @property
    def has_shared_rate(self) -> bool:
        """Whether its rate limit is shared with other workers."""
        return self._shared is not None and self._bucket is not None

    def renderer_for(self, claimed: ClaimedNotification) -> Renderer:
        """The renderer of the messages of its home. Raises: DeliveryError, that home has published nothing."""
        return self._renderer if self._renderers is None else self._renderers(claimed.scope, claimed.context)

    def wait(self, monotonic: float) -> float:
        """Seconds until a backoff, a pause and the rate limit allow the next attempt; 0.0 if they do now."""
        wait = max(0.0, self.health.paused_until - monotonic)
        return wait if self._bucket is None else max(wait, self._bucket.wait(monotonic))

    def take_permits(self, wanted: int, monotonic: float) -> int:
        """How many of `wanted` attempts the rate limit allows now; they count against it. Raises: StateError."""
        return wanted if self._bucket is None else self._bucket.take(wanted, monotonic)

    def return_permits(self, count: int) -> None:
        """Of the last permits, `count` were not used. Raises: StateError."""
        if self._bucket is not None:
            self._bucket.give_back(count)

    def record_success(self, monotonic: float) -> None:
        """Record that a message was sent, which ends every pause."""
        was_paused = bool(self.health.pause_reason)
        if self.health.record_success(monotonic):
            log.info("transport %s works again", self.name)
        if was_paused and self._shared is not None:
            self._shared.end_pause(self.name)

    def record_check(self, monotonic: float) -> None:
        """Record that a check succeeded. It ends a pause only if the sign-in had failed."""
        if self.health.is_authenticated:
            self.health.record_connection()
        else:
            self.record_success(monotonic)

    def pause(self, decision: Decision, failure: Failure, reason: str, monotonic: float) -> bool:
        """Back off or pause as `decision` after `failure` requires; returns whether a pause begins."""
        begins = self.health.pause(decision, reason, monotonic)
        if begins:
            log.error("transport %s is paused: %s; queued notifications are kept", self.name, reason)
        if decision.pauses and self._shared is not None:
            self._shared.pause(self.name, decision.transport_wait, failure, reason)
        return begins
