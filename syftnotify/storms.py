"""Has somebody had enough for now? Pure: above so many single messages in so short a time, the rest is one digest."""

from __future__ import annotations

from collections import deque

from syftnotify.model import Gathering, digest_of

ABOVE = 200  # messages to one recipient
WITHIN = 600.0  # seconds in which they are counted
EVERY = 600.0  # seconds between two digests of a storm
_PREFIX = "storm-"


class Window:
    """How often something happened, by key, in the last `seconds`; a clock that jumps forgets."""

    def __init__(self, above: int = ABOVE, seconds: float = WITHIN) -> None:
        self._above = above
        self._seconds = seconds
        self._moments: dict[str, deque[float]] = {}

    def note(self, key: str, at: float) -> None:
        """It happened."""
        self._moments.setdefault(key, deque()).append(at)

    def take_back(self, key: str, at: float) -> None:
        """It did not happen after all."""
        moments = self._moments.get(key)
        if moments and at in moments:
            moments.remove(at)

    def is_full(self, key: str, now: float) -> bool:
        """Whether it happened as often as it may."""
        moments = self._moments.get(key)
        if not moments:
            return False
        while moments and not 0 <= now - moments[0] < self._seconds:
            moments.popleft()
        if not moments:
            del self._moments[key]
            return False
        return len(moments) >= self._above


class Storms:
    """Who was sent how much lately, and when the next digest of a storm may leave."""

    def __init__(self) -> None:
        self._messages = Window()
        self._digests: dict[str, float] = {}

    def note(self, recipient: str, bundle: str, at: float) -> None:
        """A message leaves; `bundle` names it if it is a digest."""
        self._messages.note(recipient, at)
        if bundle.startswith(_PREFIX):
            self._digests[recipient] = at

    def take_back(self, recipient: str, bundle: str, at: float) -> None:
        """It did not arrive."""
        self._messages.take_back(recipient, at)
        if bundle.startswith(_PREFIX) and self._digests.get(recipient) == at:
            del self._digests[recipient]

    def gathering(self, recipient: str, transport: str, now: float) -> Gathering | None:
        """How what waits for `recipient` by `transport` is gathered, or None while single messages may go."""
        if not self._messages.is_full(recipient, now):
            return None
        last = self._digests.get(recipient)
        due = now if last is None or not 0 <= now - last < EVERY else last + EVERY
        return Gathering(_PREFIX + digest_of(recipient, transport, f"{due:.3f}"), due)
