"""Delivery of the notifications in the outbox, on a background thread or in one call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from syftnotify.core.errors import StateError
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.attempt import AttemptRunner
from syftnotify.delivery.attempt_pool import AttemptPool
from syftnotify.delivery.checks import TransportChecks
from syftnotify.delivery.claims import Claims, ClockGuard
from syftnotify.delivery.outcomes import DeliveryStatus, OutcomeRecorder
from syftnotify.delivery.queue_set import QueueSet
from syftnotify.delivery.scheduler import Scheduler
from syftnotify.delivery.shared_limits import WorkerLimits
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.system.logs import level_of_failures

log = logging.getLogger(__name__)

_ERROR_TIMEOUT = 5.0  # seconds until the next pass after one that failed


class Dispatcher:
    """Delivers the notifications in the outbox: in the background between `start` and `stop`, or in `drain`."""

    def __init__(
        self,
        outbox: OutboxStore,
        queues: Iterable[TransportQueue],
        *,
        worker_id: str,
        max_concurrent: int = 16,
        throttle_rules: Sequence[ThrottleRule] = (ThrottleRule(),),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up without starting a thread.

        Args:
            outbox: the notifications.
            queues: one per transport.
            worker_id: recorded with each claim.
            max_concurrent: maximum number of attempts at once.
            throttle_rules: limits per recipient above which messages become digests; the first one reached applies.
            clock: seconds since 1970.
            monotonic: seconds on a clock that is never set back.
            on_change: called when the status or the outbox may have changed, from any thread.
        """
        self.status = DeliveryStatus()
        self._clock = clock
        self._on_change = on_change
        self._limits = None
        self._cluster = outbox.cluster
        if outbox.cluster is not None:
            self._limits = WorkerLimits(outbox.cluster.transports, clock=clock, monotonic=monotonic)
        self._queues = QueueSet(queues, max_concurrent)
        for queue in self._queues:
            self._share(queue)
        self._pool = AttemptPool(self._queues, on_change)
        self._outcomes = OutcomeRecorder(outbox.queue, self.status, clock=clock, on_change=on_change)
        self._clock_guard = ClockGuard(outbox.queue, clock=clock, monotonic=monotonic)
        throttling = Throttling(outbox.history, throttle_rules, is_shared=outbox.cluster is not None)
        claims = Claims(outbox.queue, throttling, worker_id)
        self._scheduler = Scheduler(
            self._queues,
            claims,
            self._outcomes,
            AttemptRunner(outbox.queue, self._outcomes, throttling, self.status, clock=clock, monotonic=monotonic),
            TransportChecks(claims, self.status, clock=clock, monotonic=monotonic),
            self._pool,
            self._limits,
            clock=clock,
            monotonic=monotonic,
        )
        self._thread: threading.Thread | None = None
        self._timeout = 0.0  # until the next pass

    @property
    def queues(self) -> Mapping[str, TransportQueue]:
        """The queues by transport name."""
        return self._queues.by_name

    def add(self, queue: TransportQueue) -> None:
        """Add a transport; also allowed while deliveries run."""
        self._share(queue)
        self._queues.add(queue)

    def _share(self, queue: TransportQueue) -> None:
        if self._limits is not None:
            queue.share(self._limits)

    def refresh_pauses(self) -> None:
        """Take over what other workers have paused, also if this one delivers nothing. Raises: StateError."""
        if self._limits is not None:
            self._limits.refresh(self._queues)

    def start(self) -> None:
        """Check all transports and start delivering in the background."""
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        for queue in self._queues:
            self._scheduler.start_check(queue)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the background thread is running."""
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Start a pass now; to be called after notifications were enqueued."""
        self._pool.wake()

    def stop(self, seconds: float | None = None) -> bool:
        """Start no more attempts and wait for those in progress, at most `seconds`; returns whether all have ended.

        Transports are closed only if all have ended.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        self._scheduler.stop()
        if self._queues.in_flight:
            log.info("stopping; attempts in progress are finished first")
        self._pool.wake()
        if self._thread is not None:  # it still starts attempts that it is claiming now, and saves outcomes
            self._thread.join(timeout=seconds)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        has_ended = self._pool.wait_until_idle(left) and not self.is_alive
        if has_ended:
            try:
                self._outcomes.save()
            except StateError as error:
                log.error("the outcomes of the last attempts cannot be recorded: %s", error)
        self._pool.shutdown(wait=has_ended)
        if has_ended:
            for queue in self._queues:
                queue.transport.close()
        return has_ended

    def drain(self) -> None:
        """Attempt everything that is due now, once, and return when all attempts have ended.

        Waits for rate limits and permits. Notifications of a transport that is paused or backs off are not due.
        """
        until = self._clock()
        while True:
            self._pool.clear_wake()
            timeout = self._run_once(until)
            if timeout is None and self._pool.is_quiet:  # otherwise an attempt ended and another may start
                return
            self._pool.wait(timeout)

    def _run(self) -> None:
        """The background thread."""
        is_over = False
        while not is_over:
            self._pool.wait(self._timeout)
            self._pool.clear_wake()
            is_over = self._scheduler.is_stopped and not self._queues.in_flight  # one more pass saves the last outcomes
            self._timeout = self._run_guarded_pass()

    def _run_guarded_pass(self) -> float:
        """As `_run_pass`, but never raises: the outermost error handler of the thread."""
        try:
            timeout = self._run_pass()
        except StateError as error:
            self.status.record_error(str(error))
            log.log(level_of_failures(self._cluster), "the outbox cannot be used: %s", error)
        except Exception as error:  # for example no memory or threads; without this thread nothing is delivered
            self.status.record_error(f"unexpected {type(error).__name__} in the dispatcher")
            log.exception("unexpected error in the dispatcher")
            self._outcomes.recover()
        else:
            self.status.failed_passes = 0
            return timeout
        self.status.failed_passes += 1
        self._on_change()
        return _ERROR_TIMEOUT

    def _run_pass(self) -> float:
        """Start what may start; returns seconds until the next pass."""
        timeout = self._run_once()
        return self._scheduler.seconds_until_due() if timeout is None else timeout

    def _run_once(self, until: float | None = None) -> float | None:
        """Save outcomes and start what may start; returns seconds until more may start, as `Scheduler.start_due`."""
        self._clock_guard.check()
        if not self._queues.in_flight:
            self._outcomes.save()
        try:
            timeout = self._scheduler.start_due(until)
        finally:
            # While attempts are in progress the next ones are started first: a save waits for the disk.
            has_saved = self._outcomes.save()
        return 0.0 if has_saved else timeout  # a saved outcome may allow the next message of its conversation
