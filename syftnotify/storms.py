"""Has somebody had enough for now? Pure: above so many single messages in so short a time, the rest is one digest."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from syftnotify.model import STORM, Gathering, Kind, digest_of

ABOVE = 200  # messages to one recipient
WITHIN = 600.0  # seconds in which they are counted
EVERY = 600.0  # seconds between two digests of a storm


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


@dataclass(frozen=True, slots=True)
class Limit:
    """Above so many messages in so short a time, the rest leaves as one digest every so often. Times in seconds."""

    above: int = ABOVE
    within: float = WITHIN
    every: float = EVERY
    name: str = STORM
    sparing: frozenset[Kind] = frozenset()  # what leaves singly all the same


class _Watch:
    """One limit at work."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.prefix = limit.name
        self.messages = Window(limit.above, limit.within)
        self.digests: dict[str, float] = {}


class Storms:
    """Who was sent how much lately, and when the next digest of a storm may leave."""

    def __init__(self, limits: Sequence[Limit] = (Limit(),)) -> None:
        """The first limit that is reached decides."""
        self._watches = [_Watch(limit) for limit in limits]

    def note(self, recipient: str, bundle: str, at: float) -> None:
        """A message leaves; `bundle` names it if it is a digest."""
        for watch in self._watches:
            watch.messages.note(recipient, at)
            if bundle.startswith(watch.prefix):
                watch.digests[recipient] = at

    def take_back(self, recipient: str, bundle: str, at: float) -> None:
        """It did not arrive."""
        for watch in self._watches:
            watch.messages.take_back(recipient, at)
            if bundle.startswith(watch.prefix) and watch.digests.get(recipient) == at:
                del watch.digests[recipient]

    def gathering(self, recipient: str, transport: str, now: float, kind: Kind = Kind.DIGEST) -> Gathering | None:
        """How what waits for `recipient` by `transport` is gathered, or None while one of `kind` may go by itself."""
        for watch in self._watches:
            limit = watch.limit
            if kind in limit.sparing or not watch.messages.is_full(recipient, now):
                continue
            last = watch.digests.get(recipient)
            due = now if last is None or not 0 <= now - last < limit.every else last + limit.every
            return Gathering(watch.prefix + digest_of(recipient, transport, f"{due:.3f}"), due, limit.sparing)
        return None
