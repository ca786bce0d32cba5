"""Health of a transport, derived from its last attempts and checks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from syftnotify.core.cluster import TransportPause
from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.retry import Decision
from syftnotify.core.text import iso

# Seconds without a success after which a transport counts as unreachable, in the status and in alerts.
UNREACHABLE_SECONDS = 120.0
# Number of different messages in a row whose same failure shows a fault of the transport, not of the messages.
SYSTEMIC_FAILURES = 3
_MAX_IDS = 10 * SYSTEMIC_FAILURES


@dataclass(slots=True)
class TransportHealth:
    """Failures of one transport since its last success, and the pause or backoff that they caused.

    Changed by the threads of its attempts and checks, read by all.
    """

    consecutive_timeouts: int = 0  # attempts in a row without a usable response
    is_degraded: bool = False  # no success since an attempt got no usable response
    is_gone: bool = False  # a message was answered with GONE
    is_authenticated: bool = True  # False while the sign-in fails; a check shows whether it works again
    loses_responses: bool = False  # no success since an attempt had an unknown outcome
    # Ids of the messages that were rejected, and of those that failed temporarily, in a row.
    rejected_ids: list[str] = field(default_factory=list)
    deferred_ids: list[str] = field(default_factory=list)
    last_failure: str = ""
    pause_reason: str = ""  # why it is paused until a probe succeeds, which may need a user's action; empty: no pause
    paused_until: float = 0.0  # time of the next attempt after a failure, on the monotonic clock; 0.0: no wait
    is_following: bool = False  # the pause was begun by another worker
    unreachable_since: float | None = None  # seconds since 1970; None: the last attempt got a usable response
    _unreachable_at: float = 0.0  # the same on the monotonic clock
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def is_healthy(self) -> bool:
        """Whether no failure was recorded since the last success."""
        has_failed = self.consecutive_timeouts or self.is_degraded or self.rejected_ids or self.deferred_ids
        is_blocked = self.paused_until or self.pause_reason or self.unreachable_since or self.is_gone
        return self.is_authenticated and not has_failed and not is_blocked

    @property
    def rejects_all(self) -> bool:
        """Whether several different messages in a row were rejected."""
        return len(self.rejected_ids) >= SYSTEMIC_FAILURES

    def unavailable_reason(self, monotonic: float) -> str:
        """Why nothing can be sent, for users; empty while sending works or has failed for less than two minutes."""
        if self.pause_reason or self.unreachable_since is None:
            return self.pause_reason
        return "" if monotonic - self._unreachable_at < UNREACHABLE_SECONDS else self.unreachable_reason

    @property
    def unreachable_reason(self) -> str:
        """Since when the server cannot be reached, and why; empty if it can."""
        if self.unreachable_since is None:
            return ""
        return f"unreachable since {iso(self.unreachable_since)}: {self.last_failure}"

    def record_success(self, monotonic: float) -> bool:
        """Record that a message was sent, which clears all failures.

        Returns whether the transport was unavailable until now.
        """
        if self.is_healthy:
            return False
        with self._lock:
            was_unavailable = bool(self.unavailable_reason(monotonic))
            self.consecutive_timeouts, self.paused_until, self.pause_reason = 0, 0.0, ""
            self.is_degraded = self.is_gone = self.loses_responses = self.is_following = False
            self.is_authenticated = True
            self.rejected_ids, self.deferred_ids, self.unreachable_since = [], [], None
        return was_unavailable

    def record_connection(self) -> None:
        """Record that a check reached the server. It does not show whether messages are accepted."""
        with self._lock:
            self.unreachable_since, self.deferred_ids, self.loses_responses = None, [], False

    def record_failure(self, error: DeliveryError, message_id: str, now: float, monotonic: float) -> bool:
        """Record a failed attempt or check.

        Args:
            error: the failure.
            message_id: the message, or one key for all rejections of one recipient; empty for a check.
            now: seconds since 1970.
            monotonic: the same on the monotonic clock.

        Returns:
            Whether the transport is at fault and not this message: it rejects all messages, or an earlier message
            showed already that its endpoint is gone.
        """
        failure = error.failure
        with self._lock:
            was_paused, was_gone = bool(self.pause_reason), self.is_gone
            self.last_failure = str(error)
            self.is_gone = self.is_gone or failure is Failure.GONE
            if message_id:
                self._record_message(failure, message_id)
            self._record_reachability(failure, now, monotonic)
            rejected = len(self.rejected_ids)
        if failure is Failure.GONE:
            return was_gone
        is_systemic = rejected > SYSTEMIC_FAILURES or (rejected == SYSTEMIC_FAILURES and was_paused)
        return failure is Failure.PERMANENT and is_systemic

    def _record_message(self, failure: Failure, message_id: str) -> None:
        if failure is Failure.UNKNOWN:
            self.loses_responses = True
        elif failure is Failure.PERMANENT:
            self.rejected_ids = _with(self.rejected_ids, message_id)
        elif failure is Failure.TEMPORARY:
            self.deferred_ids = _with(self.deferred_ids, message_id)

    def _record_reachability(self, failure: Failure, now: float, monotonic: float) -> None:
        defers_all = failure is Failure.TEMPORARY and len(self.deferred_ids) >= SYSTEMIC_FAILURES
        is_timeout = failure in {Failure.UNREACHABLE, Failure.UNKNOWN} or defers_all
        self.consecutive_timeouts = self.consecutive_timeouts + 1 if is_timeout else 0
        self.is_degraded = self.is_degraded or is_timeout
        if is_timeout and self.unreachable_since is None:
            self.unreachable_since, self._unreachable_at = now, monotonic
        elif failure in {Failure.PERMANENT, Failure.CORRECTED}:  # the server responds
            self.unreachable_since = None

    def pause(self, decision: Decision, reason: str, monotonic: float) -> bool:
        """Back off or pause as `decision` requires; returns whether a pause begins."""
        with self._lock:
            if decision.transport_wait:
                self.paused_until = monotonic + decision.transport_wait
            begins = decision.pauses and not self.pause_reason
            if decision.pauses:
                self.pause_reason = reason
        return begins

    def follow(self, pause: TransportPause, until: float) -> None:
        """Keep the pause of another worker, until a time on the monotonic clock."""
        with self._lock:
            self.is_following = True
            self.paused_until, self.pause_reason = until, pause.reason
            self.is_gone = self.is_gone or pause.failure is Failure.GONE
            self.is_authenticated = self.is_authenticated and pause.failure is not Failure.AUTH


def _with(ids: list[str], message_id: str) -> list[str]:
    """`ids` with `message_id` added unless it is contained; at most `_MAX_IDS`, the newest."""
    return ids if message_id in ids else [*ids, message_id][-_MAX_IDS:]
