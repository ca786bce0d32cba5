"""Samples of the state of the queues, for the chart of the page."""

from __future__ import annotations

from collections.abc import Collection

from syftnotify.core.metrics import sample_of
from syftnotify.core.outbox import OutboxStore

_INTERVAL = 60.0  # seconds
_KEPT_SECONDS = 2 * 86400.0


class Sampler:
    """Takes at most one sample a minute. `holding`: the transports whose unknown outcomes are held."""

    def __init__(self, outbox: OutboxStore, holding: Collection[str]) -> None:
        self._outbox, self._holding = outbox, holding
        self._taken_at = 0.0  # seconds since 1970

    def take(self, now: float) -> None:
        """Store a sample, if one is due. A clock that was set back does not delay it.

        Raises:
            StateError: the outbox cannot be used.
        """
        if 0 <= now - self._taken_at < _INTERVAL:
            return
        self._taken_at = now
        metrics = self._outbox.history.metrics(holding=self._holding)
        self._outbox.samples.add(sample_of(metrics, now), now - _KEPT_SECONDS)
