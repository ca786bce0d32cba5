"""Flood control. Pure: above a number of messages in a time, the rest becomes digests.

Per recipient: 200 messages in ten minutes, and what `digest:` sets. Per submitter: a share of what a transport may send
in a day, so that one submitter cannot use up the daily limit of the provider.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import SHARE, STORM, DigestWindow

ABOVE = 200  # messages to one recipient
WITHIN = 600.0  # seconds in which they are counted
EVERY = 600.0  # seconds between two digests of a storm
_DAY = 86400.0
_SHARE = 5  # a submitter causes at most one fifth of the messages of a day


class Window:
    """How often something happened, by key, in the last `seconds`; a clock that jumps resets it."""

    def __init__(self, above: int = ABOVE, seconds: float = WITHIN) -> None:
        self._above = above
        self._seconds = seconds
        self._moments: dict[str, deque[float]] = {}
        self._swept_at = 0.0

    def note(self, key: str, at: float) -> None:
        """It happened."""
        if not 0 <= at - self._swept_at < self._seconds:  # so that keys that never return are dropped
            self._moments = {each: moments for each in list(self._moments) if (moments := self._recent(each, at))}
            self._swept_at = at
        self._moments.setdefault(key, deque()).append(at)

    def _recent(self, key: str, now: float) -> deque[float]:
        """When `key` happened in the last `seconds`; what is older is dropped."""
        moments = self._moments.get(key, deque())
        while moments and not 0 <= now - moments[0] < self._seconds:
            moments.popleft()
        return moments

    def take_back(self, key: str, at: float) -> None:
        """It did not happen after all."""
        moments = self._moments.get(key)
        if moments and at in moments:
            moments.remove(at)

    def is_full(self, key: str, now: float) -> bool:
        """Whether it happened as often as it may."""
        return self.count(key, now) >= self._above

    def count(self, key: str, now: float) -> int:
        """How often it happened in the last `seconds`."""
        return len(self._recent(key, now))

    def free_at(self, key: str) -> float | None:
        """When the oldest occurrence leaves the window; None when there is none."""
        moments = self._moments.get(key)
        return moments[0] + self._seconds if moments else None


@dataclass(frozen=True, slots=True)
class ThrottleRule:
    """Above so many messages in so short a time, the rest leaves as one digest every so often. Times in seconds."""

    above: int = ABOVE
    within: float = WITHIN
    every: float = EVERY
    name: str = STORM
    sparing: frozenset[EventKind] = frozenset()  # what leaves singly all the same


class _Watch:
    """One limit at work."""

    def __init__(self, limit: ThrottleRule) -> None:
        self.limit = limit
        self.prefix = limit.name
        self.messages = Window(limit.above, limit.within)
        self.digests: dict[str, float] = {}


class RecipientThrottle:
    """Who was sent how much lately, and when the next digest of a storm may leave."""

    def __init__(self, limits: Sequence[ThrottleRule] = (ThrottleRule(),)) -> None:
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

    def gathering(
        self, recipient: str, transport: str, now: float, kind: EventKind = EventKind.DIGEST
    ) -> DigestWindow | None:
        """How what waits for `recipient` by `transport` is gathered, or None while one of `kind` may go by itself."""
        for watch in self._watches:
            limit = watch.limit
            if kind in limit.sparing or not watch.messages.is_full(recipient, now):
                continue
            last = watch.digests.get(recipient)
            due = now if last is None or not 0 <= now - last < limit.every else last + limit.every
            return DigestWindow(watch.prefix + stable_hash(recipient, transport, f"{due:.3f}"), due, limit.sparing)
        return None


class DailyShare:
    """The share of one submitter in what a transport may send in 24 hours.

    One submitter causes at most a fifth of `daily_limit`: half of that as single messages, the rest as digests, which
    are spread over the day. Everything else keeps the remainder: other submitters, and the notifier's own alerts.
    """

    def __init__(self, daily_limit: int) -> None:
        """`daily_limit` is the number of messages that the transport may send in 24 hours."""
        self._share = max(1, daily_limit // _SHARE)
        self._single = max(1, self._share // 2)
        # A digest for each of two recipients, the owner and the submitter, fits into the other half.
        self._gap = min(_DAY, 4 * _DAY / self._share)
        self._messages = Window(self._share, _DAY)
        self._digests: dict[tuple[str, str], float] = {}  # by source and recipient

    def record(self, recipient: str, bundle: str, source: str, at: float) -> None:
        """A message that `source` alone caused is sent; `bundle` names it if it is a digest."""
        if source:
            self._messages.note(source, at)
            if bundle.startswith(SHARE):
                self._digests[source, recipient] = at

    def undo(self, recipient: str, bundle: str, source: str, at: float) -> None:
        """It was not delivered."""
        self._messages.take_back(source, at)
        if bundle.startswith(SHARE) and self._digests.get((source, recipient)) == at:
            del self._digests[source, recipient]

    def gathering(self, recipient: str, transport: str, now: float, source: str, bundle: str) -> DigestWindow | None:
        """The digest for what `source` causes, or None while a message may be sent.

        `bundle` is a digest of this kind that is due, or empty for a single message.
        """
        sent = self._messages.count(source, now) if source else 0
        if sent < (self._share if bundle else self._single):
            return None
        last = self._digests.get((source, recipient))
        due = now if last is None or not 0 <= now - last < self._gap else last + self._gap
        if sent >= self._share:
            due = max(due, self._messages.free_at(source) or due)
        if bundle:
            return DigestWindow(bundle, due)
        return DigestWindow(SHARE + stable_hash(recipient, transport, source, f"{due:.3f}"), due, source=source)
