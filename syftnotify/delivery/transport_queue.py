"""Queue of one transport: its options, rate limit and health."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from syftnotify.core.ports import Renderer, Transport
from syftnotify.core.retry import Decision
from syftnotify.delivery.transport_health import TransportHealth

log = logging.getLogger(__name__)


class TokenBucket:
    """Rate limit of a transport: each message takes one token. Not safe to share between threads."""

    def __init__(self, rate: float, burst: int) -> None:
        """`rate` is the number of tokens added per second, `burst` their maximum and their number at the first use."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at: float | None = None

    def wait(self, monotonic: float) -> float:
        """Seconds until a token is available; 0.0 if one is."""
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (monotonic - self._filled_at) * self._rate)
        self._filled_at = monotonic
        return (1.0 - self._tokens) / self._rate if self._tokens < 1.0 else 0.0

    def take(self) -> None:
        """Take one token; the number may become negative."""
        self._tokens -= 1.0


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
        self, name: str, transport: Transport, renderer: Renderer, options: QueueOptions | None = None
    ) -> None:
        self.name = name
        self.transport = transport
        self.renderer = renderer
        self.options = options or QueueOptions()
        self.health = TransportHealth()
        self.in_flight = 0
        rate = self.options.rate
        self._bucket = None if rate is None else TokenBucket(rate, self.options.burst)

    def wait(self, monotonic: float) -> float:
        """Seconds until a backoff, a pause and the rate limit allow the next attempt; 0.0 if they do now."""
        wait = max(0.0, self.health.paused_until - monotonic)
        return wait if self._bucket is None else max(wait, self._bucket.wait(monotonic))

    def take_token(self) -> None:
        """Count an attempt against the rate limit."""
        if self._bucket is not None:
            self._bucket.take()

    def record_success(self, monotonic: float) -> None:
        """Record that a message was sent, which ends every pause."""
        if self.health.record_success(monotonic):
            log.info("transport %s works again", self.name)

    def record_check(self, monotonic: float) -> None:
        """Record that a check succeeded. It ends a pause only if the sign-in had failed."""
        if self.health.is_authenticated:
            self.health.record_connection()
        else:
            self.record_success(monotonic)

    def pause(self, decision: Decision, reason: str, monotonic: float) -> bool:
        """Back off or pause as `decision` requires; returns whether a pause begins."""
        begins = self.health.pause(decision, reason, monotonic)
        if begins:
            log.error("transport %s is paused: %s; queued notifications are kept", self.name, reason)
        return begins
