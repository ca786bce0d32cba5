"""Flood control: above a threshold of messages within a time window, further ones become digests.

Per recipient: 200 messages in ten minutes, and the `digest` section of the configuration. Per submitter: a share of
what a transport may send in a day, so that one submitter cannot use up the daily limit of the provider.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import FLOOD_PREFIX, SHARE_PREFIX, DigestWindow

DEFAULT_THRESHOLD = 200  # messages to one recipient
DEFAULT_WINDOW = 600.0  # seconds in which they are counted
DEFAULT_INTERVAL = 600.0  # seconds between two digests
_DAY = 86400.0
_SHARE_DIVISOR = 5  # one submitter causes at most a fifth of the messages of a day


class SlidingWindow:
    """Counts occurrences by key within the last `seconds`. If the clock is set back, a key starts again at 0."""

    def __init__(self, threshold: int = DEFAULT_THRESHOLD, seconds: float = DEFAULT_WINDOW) -> None:
        self._threshold = threshold
        self._seconds = seconds
        self._times: dict[str, deque[float]] = {}
        self._swept_at = 0.0

    def record(self, key: str, at: float) -> None:
        """Count one occurrence."""
        if not 0 <= at - self._swept_at < self._seconds:  # drops keys that do not occur again
            self._times = {each: times for each in list(self._times) if (times := self._recent(each, at))}
            self._swept_at = at
        self._times.setdefault(key, deque()).append(at)

    def _recent(self, key: str, now: float) -> deque[float]:
        """The times of `key` within the window; drops older ones."""
        times = self._times.get(key, deque())
        while times and not 0 <= now - times[0] < self._seconds:
            times.popleft()
        return times

    def undo(self, key: str, at: float) -> None:
        """Remove the occurrence recorded at `at`, if there is one."""
        times = self._times.get(key)
        if times and at in times:
            times.remove(at)

    def is_full(self, key: str, now: float) -> bool:
        """Whether the threshold is reached."""
        return self.count(key, now) >= self._threshold

    def count(self, key: str, now: float) -> int:
        """The number of occurrences within the window."""
        return len(self._recent(key, now))

    def free_at(self, key: str) -> float | None:
        """When the oldest occurrence leaves the window; None if there is none."""
        times = self._times.get(key)
        return times[0] + self._seconds if times else None


@dataclass(frozen=True, slots=True)
class ThrottleRule:
    """Above `threshold` messages within `window` seconds, further ones become one digest per `interval` seconds."""

    threshold: int = DEFAULT_THRESHOLD
    window: float = DEFAULT_WINDOW
    interval: float = DEFAULT_INTERVAL
    bundle_prefix: str = FLOOD_PREFIX
    exempt: frozenset[EventKind] = frozenset()  # kinds that are always sent singly


class _RuleState:
    """One rule, the messages that it counts, and when each recipient's last digest of this rule was sent."""

    def __init__(self, rule: ThrottleRule) -> None:
        self.rule = rule
        self.messages = SlidingWindow(rule.threshold, rule.window)
        self.digests: dict[str, float] = {}

    def is_digest(self, bundle: str) -> bool:
        return bundle.startswith(self.rule.bundle_prefix)


class RecipientThrottle:
    """Per-recipient throttle; excess messages become one digest."""

    def __init__(self, rules: Sequence[ThrottleRule] = (ThrottleRule(),)) -> None:
        """Of several rules, the first whose threshold is reached applies."""
        self._states = [_RuleState(rule) for rule in rules]

    def record(self, recipient: str, bundle: str, at: float) -> None:
        """Count a message that is sent; `bundle` is its bundle if it is a digest, or empty."""
        for state in self._states:
            state.messages.record(recipient, at)
            if state.is_digest(bundle):
                state.digests[recipient] = at

    def undo(self, recipient: str, bundle: str, at: float) -> None:
        """Reverse `record` for a message that was not delivered."""
        for state in self._states:
            state.messages.undo(recipient, at)
            if state.is_digest(bundle) and state.digests.get(recipient) == at:
                del state.digests[recipient]

    def digest_window(
        self, recipient: str, transport: str, now: float, kind: EventKind = EventKind.DIGEST
    ) -> DigestWindow | None:
        """The digest for due notifications of `recipient`, or None while one of `kind` may be sent singly."""
        for state in self._states:
            rule = state.rule
            if kind in rule.exempt or not state.messages.is_full(recipient, now):
                continue
            last = state.digests.get(recipient)
            due = now if last is None or not 0 <= now - last < rule.interval else last + rule.interval
            bundle = rule.bundle_prefix + stable_hash(recipient, transport, f"{due:.3f}")
            return DigestWindow(bundle, due, rule.exempt)
        return None


class DailyShare:
    """Per-submitter throttle over the daily limit of a transport.

    One submitter causes at most a fifth of `daily_limit`: half of that as single messages, the rest as digests spread
    over the day. The remainder stays for other submitters and for alerts of the notifier itself.
    """

    def __init__(self, daily_limit: int) -> None:
        """`daily_limit` is the number of messages that the transport may send in 24 hours."""
        self._share = max(1, daily_limit // _SHARE_DIVISOR)
        self._singles = max(1, self._share // 2)
        # The other half has room for a digest to each of two recipients, the owner and the submitter.
        self._interval = min(_DAY, 4 * _DAY / self._share)
        self._messages = SlidingWindow(self._share, _DAY)
        self._digests: dict[tuple[str, str], float] = {}  # by source and recipient

    def record(self, recipient: str, bundle: str, source: str, at: float) -> None:
        """Count a message that `source` alone caused; `bundle` is its bundle if it is a digest, or empty."""
        if source:
            self._messages.record(source, at)
            if bundle.startswith(SHARE_PREFIX):
                self._digests[source, recipient] = at

    def undo(self, recipient: str, bundle: str, source: str, at: float) -> None:
        """Reverse `record` for a message that was not delivered."""
        self._messages.undo(source, at)
        if bundle.startswith(SHARE_PREFIX) and self._digests.get((source, recipient)) == at:
            del self._digests[source, recipient]

    def digest_window(
        self, recipient: str, transport: str, now: float, source: str, bundle: str
    ) -> DigestWindow | None:
        """The digest for what `source` causes, or None while a message may be sent.

        `bundle` is a digest of this kind that is due, or empty for a single message.
        """
        sent = self._messages.count(source, now) if source else 0
        if sent < (self._share if bundle else self._singles):
            return None
        last = self._digests.get((source, recipient))
        due = now if last is None or not 0 <= now - last < self._interval else last + self._interval
        if sent >= self._share:
            due = max(due, self._messages.free_at(source) or due)
        if bundle:
            return DigestWindow(bundle, due)
        return DigestWindow(SHARE_PREFIX + stable_hash(recipient, transport, source, f"{due:.3f}"), due, source=source)
