"""Rate limit of a transport."""

from __future__ import annotations


class TokenBucket:
    """Token bucket; a message takes one token."""

    def __init__(self, rate: float, burst: int) -> None:
        """`rate` is the number of tokens added per second, `burst` the maximum stored and the number at first use."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at: float | None = None

    def wait(self, monotonic: float) -> float:
        """Seconds until a token is available."""
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (monotonic - self._filled_at) * self._rate)
        self._filled_at = monotonic
        return (1.0 - self._tokens) / self._rate if self._tokens < 1.0 else 0.0

    def take(self) -> None:
        """Remove one token."""
        self._tokens -= 1.0
