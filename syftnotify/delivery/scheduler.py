"""Decides which transport may start how many attempts, and when."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial

from syftnotify.core.errors import StateError
from syftnotify.core.outbox import ClaimedNotification
from syftnotify.delivery.attempt import AttemptRunner
from syftnotify.delivery.attempt_pool import AttemptPool
from syftnotify.delivery.checks import TransportChecks
from syftnotify.delivery.claims import Claims
from syftnotify.delivery.outcomes import OutcomeRecorder
from syftnotify.delivery.queue_set import QueueSet
from syftnotify.delivery.shared_limits import WorkerLimits
from syftnotify.delivery.transport_queue import TransportQueue

MAX_TIMEOUT = 60.0  # seconds between two passes, whatever is due
_MIN_TIMEOUT = 0.05  # seconds


class Scheduler:
    """Claims due notifications of each transport in turn and starts their attempts. Used by one thread at a time."""

    def __init__(
        self,
        queues: QueueSet,
        claims: Claims,
        outcomes: OutcomeRecorder,
        attempts: AttemptRunner,
        checks: TransportChecks,
        pool: AttemptPool,
        limits: WorkerLimits | None = None,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._queues = queues
        self._claims = claims
        self._outcomes = outcomes
        self._attempts = attempts
        self._checks = checks
        self._pool = pool
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._unsubmitted: deque[Callable[[], None]] = deque()  # each starts the attempt of one claimed message
        self.is_stopped = False

    def stop(self) -> None:
        """Claim nothing more. Attempts of claimed messages are still started."""
        self.is_stopped = True

    def start_check(self, queue: TransportQueue) -> None:
        """Start a check of the transport of `queue`."""
        self._pool.submit(queue, partial(self._checks.run, queue))

    def start_due(self, until: float | None = None) -> float | None:
        """Start every attempt that may start, and every check that is due.

        With `until` (seconds since 1970), only notifications that are due at that time are sent, and no checks are
        started.

        Returns:
            Seconds until a rate limit allows the next attempt; None if no notification waits for a rate limit.

        Raises:
            StateError: the outbox cannot be used.
        """
        self._submit_claimed()
        if self._limits is not None:
            self._limits.refresh(self._queues)
        waits: list[float] = []
        has_progress = True
        # Attempts that have ended meanwhile freed slots, so the queues are visited again. The pass ends when there are
        # outcomes to save: with fast servers it would not end otherwise.
        while has_progress and not self.is_stopped:
            has_progress = False
            for queue in self._queues:
                if until is None and self._checks.is_due(queue):
                    self.start_check(queue)
                if self._queues.is_full:
                    return MAX_TIMEOUT  # the end of an attempt wakes the thread
                if queue.wait(self._monotonic()) <= 0.0 and self._start_from(queue, until):
                    has_progress = True
                    continue
                wait = queue.wait(self._monotonic())  # again: another worker may have taken the last permits
                if wait > 0.0 and self._waits_for_rate(queue, until):
                    waits.append(wait)
            has_progress = has_progress and not self._outcomes.has_unsaved
        return min(waits, default=None)

    def _start_from(self, queue: TransportQueue, until: float | None) -> bool:
        """Claim and start what `queue` may send now; returns whether anything was claimed."""
        slots = self._queues.free_slots(queue)
        if slots <= 0:
            return False
        now = self._clock() if until is None else min(self._clock(), until)
        if queue.has_shared_rate and self._claims.next_due(queue, now) != 0.0:
            return False  # permits that nothing needs would be missing for other workers meanwhile
        permits = queue.take_permits(slots, self._monotonic())
        try:
            messages = self._claims.claim(queue, now, permits) if permits else []
        except StateError:
            with contextlib.suppress(StateError):  # the error of the claim is raised
                queue.return_permits(permits)
            raise
        self._unsubmitted.extend(partial(self._start_attempt, queue, claimed, now) for claimed in messages)
        self._submit_claimed()  # before the permits: what is claimed must be sent, whatever happens
        queue.return_permits(permits - len(messages))
        return bool(messages)

    def _waits_for_rate(self, queue: TransportQueue, until: float | None) -> bool:
        """Whether a due notification of `queue` waits only for the rate limit, not for a pause or a backoff."""
        if self._queues.free_slots(queue) <= 0 or queue.health.paused_until > self._monotonic():
            return False
        now = self._clock()
        due = self._claims.next_due(queue, now)
        return due is not None and due <= (now if until is None else until)

    def _submit_claimed(self) -> None:
        """Start the attempts of claimed messages. After an error the next pass starts the others."""
        while self._unsubmitted:
            self._unsubmitted[0]()
            self._unsubmitted.popleft()

    def _start_attempt(self, queue: TransportQueue, claimed: list[ClaimedNotification], claimed_at: float) -> None:
        self._pool.submit(queue, partial(self._attempts.run, queue, claimed, claimed_at))

    def seconds_until_due(self) -> float:
        """Seconds until the next pass, if nothing wakes the thread before."""
        if self.is_stopped:  # the end of an attempt wakes the thread
            return MAX_TIMEOUT
        now, monotonic = self._clock(), self._monotonic()
        timeouts = [MAX_TIMEOUT]
        for queue in self._queues:
            if self._queues.free_slots(queue) <= 0:  # the end of an attempt wakes the thread
                continue
            due = self._claims.next_due(queue, now)
            if due is not None:
                timeouts.append(max(_MIN_TIMEOUT, due - now, queue.wait(monotonic)))
            elif wait := queue.wait(monotonic):  # a check may be due then; one that is due now was started
                timeouts.append(max(_MIN_TIMEOUT, wait))
        return min(timeouts)
