"""Throttles at the claim: above a threshold due notifications become digests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from syftnotify.core.history import History, SentMessage
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import DigestWindow
from syftnotify.core.outbox import ClaimedNotification
from syftnotify.core.throttle import DailyShare, RecipientThrottle, ThrottleRule
from syftnotify.delivery.transport_queue import TransportQueue

_DAY = 86400.0


class _CountedMessage(NamedTuple):
    """A claimed message as the throttles count it."""

    recipient: str
    bundle: str  # empty unless it is a digest
    source: str  # submitter or user who caused all of it; empty: several, or nobody


class Throttling:
    """The per-recipient throttle of all transports, and the per-submitter share of the daily limit of each transport.

    Both are filled from the history at the first claim. Only the claiming thread may call `for_claim`; any thread may
    call `undo`, for messages that were claimed.
    """

    def __init__(self, history: History, rules: Sequence[ThrottleRule], *, is_shared: bool = False) -> None:
        """`is_shared`: several workers send. Each claim then recalls from the outbox what counts for it."""
        self._history = history
        self._rules = rules
        self._is_shared = is_shared
        self._seconds = max((max(rule.window, rule.interval) for rule in rules), default=0.0)
        self._recipients: RecipientThrottle | None = None
        self._shares: dict[str, DailyShare] = {}  # by transport
        self._lock = threading.Lock()

    def for_claim(self, queue: TransportQueue, now: float) -> ClaimThrottle:
        """The throttles of one claim at `now`.

        Raises:
            StateError: the history cannot be read.
        """
        if self._is_shared:
            limit = queue.options.daily_limit
            recipients, share = RecipientThrottle(self._rules), None if limit is None else DailyShare(limit)
        else:
            recipients, share = self._recipient_throttle(now), self._daily_share(queue, now)
        return ClaimThrottle(queue.name, now, recipients, share, lock=self._lock, seconds=self._seconds)

    def undo(self, queue: TransportQueue, claimed: Sequence[ClaimedNotification], claimed_at: float) -> None:
        """Stop counting the message with `claimed`, which was claimed at `claimed_at` and not delivered."""
        if self._is_shared:  # the outbox does it with the outcome
            return
        sources = {item.source for item in claimed}
        source = sources.pop() if len(sources) == 1 else ""
        message = _CountedMessage(claimed[0].recipient, claimed[0].bundle, source)
        self.for_claim(queue, claimed_at).undo_messages([message])

    def _recipient_throttle(self, now: float) -> RecipientThrottle:
        if self._recipients is None:
            recipients = RecipientThrottle(self._rules)
            for message in self._history.sent_since(now - self._seconds):
                recipients.record(message.recipient, message.bundle, message.at)
            self._recipients = recipients
        return self._recipients

    def _daily_share(self, queue: TransportQueue, now: float) -> DailyShare | None:
        limit = queue.options.daily_limit
        if limit is not None and queue.name not in self._shares:
            share = DailyShare(limit)
            for message in self._history.sent_since(now - _DAY):
                if message.transport == queue.name:
                    share.record(message.recipient, message.bundle, message.source, message.at)
            self._shares[queue.name] = share
        return self._shares.get(queue.name)


class ClaimThrottle:
    """The throttles of one transport at one time, `now`; implements `core.outbox.Throttle`."""

    def __init__(
        self,
        transport: str,
        now: float,
        recipients: RecipientThrottle,
        share: DailyShare | None,
        *,
        lock: threading.Lock,
        seconds: float,
    ) -> None:
        """`seconds` is how long messages to one recipient count."""
        self._transport = transport
        self._now = now
        self._recipients = recipients
        self._share = share
        self._lock = lock
        self._seconds = seconds
        self._recorded: list[_CountedMessage] = []

    def digest_window(self, recipient: str, kind: EventKind, source: str, bundle: str) -> DigestWindow | None:
        with self._lock:
            if self._share is not None:
                window = self._share.digest_window(recipient, self._transport, self._now, source, bundle)
                if window is not None or bundle:
                    return window
            return self._recipients.digest_window(recipient, self._transport, self._now, kind)

    def record(self, recipient: str, bundle: str, source: str) -> None:
        self._recorded.append(_CountedMessage(recipient, bundle, source))
        with self._lock:
            self._recipients.record(recipient, bundle, self._now)
            if self._share is not None:
                self._share.record(recipient, bundle, source, self._now)

    @property
    def seconds(self) -> tuple[float, float]:
        return self._seconds, 0.0 if self._share is None else _DAY

    def recall(self, to_recipients: Sequence[SentMessage], of_sources: Sequence[SentMessage]) -> None:
        with self._lock:
            for message in to_recipients:
                self._recipients.record(message.recipient, message.bundle, message.at)
            if self._share is not None:
                for message in of_sources:
                    self._share.record(message.recipient, message.bundle, message.source, message.at)

    def undo(self) -> None:
        messages, self._recorded = self._recorded, []
        self.undo_messages(messages)

    def undo_messages(self, messages: Sequence[_CountedMessage]) -> None:
        """Stop counting `messages`, which were claimed at the time of this object."""
        with self._lock:
            for message in messages:
                self._recipients.undo(message.recipient, message.bundle, self._now)
                if self._share is not None:
                    self._share.undo(message.recipient, message.bundle, message.source, self._now)
