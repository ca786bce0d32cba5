"""Checks of transports: they sign in or connect, without a message."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.retry import AttemptHistory, decide
from syftnotify.delivery.claims import Claims
from syftnotify.delivery.outcomes import DeliveryStatus
from syftnotify.delivery.transport_queue import TransportQueue

log = logging.getLogger(__name__)

_NO_ATTEMPTS = AttemptHistory(0, 0, None)


class TransportChecks:
    """Checks transports, to detect a failed sign-in before the first message, and a recovery without messages."""

    def __init__(
        self,
        claims: Claims,
        status: DeliveryStatus,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._claims = claims
        self._status = status
        self._clock = clock
        self._monotonic = monotonic

    def is_due(self, queue: TransportQueue) -> bool:
        """Whether the transport should be checked now: it failed, and no message is due that would show a recovery."""
        health = queue.health
        if queue.in_flight or queue.wait(self._monotonic()):
            return False
        if not health.is_authenticated:
            return True
        if health.unreachable_since is None:
            return False
        now = self._clock()
        due = self._claims.next_due(queue, now)
        # A message shows more than a connection. So a due one is sent instead of a check; and if messages failed
        # although the server could be reached, the next one is waited for.
        return due is None or (due > now and not health.deferred_ids and not health.loses_responses)

    def run(self, queue: TransportQueue) -> None:
        """Check the transport and record the result; never raises."""
        try:
            queue.transport.check()
        except DeliveryError as error:
            self._record_failure(queue, error)
        except Exception as error:  # the outermost handler of the thread; a failure, so that the next check waits
            log.exception("unexpected error in the check of transport %s", queue.name)
            reason = f"unexpected {type(error).__name__} in the check; see the log"
            self._record_failure(queue, DeliveryError(Failure.UNREACHABLE, reason))
        else:
            queue.record_check(self._monotonic())

    def _record_failure(self, queue: TransportQueue, error: DeliveryError) -> None:
        now, monotonic = self._clock(), self._monotonic()
        if error.failure is Failure.AUTH:  # any other failure shows nothing about the sign-in
            queue.health.is_authenticated = False
        queue.health.record_failure(error, "", now, monotonic)
        decision = decide(
            error.failure,
            _NO_ATTEMPTS,
            now=now,
            rand=random.random,
            consecutive_timeouts=queue.health.consecutive_timeouts or 1,
        )
        if queue.pause(decision, error.failure, str(error), monotonic):
            self._status.record_error(f"{queue.name}: {error}")
