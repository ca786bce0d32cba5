"""Threads for attempts and checks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from syftnotify.delivery.queue_set import QueueSet
from syftnotify.delivery.transport_queue import TransportQueue

log = logging.getLogger(__name__)


class AttemptPool:
    """Runs attempts and checks in threads, counts those in progress, and wakes the scheduling thread when one ends."""

    def __init__(self, queues: QueueSet, on_change: Callable[[], None]) -> None:
        """`on_change` is called after each attempt and check, from its thread."""
        self._queues = queues
        self._on_change = on_change
        self._executor = ThreadPoolExecutor(max_workers=queues.max_concurrent, thread_name_prefix="send")
        self._condition = threading.Condition()
        self._is_woken = True

    def submit(self, queue: TransportQueue, task: Callable[[], None]) -> None:
        """Run `task` in a thread, or in the calling one if no thread can be started. `task` must not raise."""
        once = _Once(partial(self._run, queue, task))
        with self._condition:
            queue.in_flight += 1
        try:
            self._executor.submit(once)
        except (RuntimeError, MemoryError) as error:
            # The executor had queued the task before it failed, so one of its threads may also take it.
            log.warning("no thread can be started (%s); sending one message at a time", error)
            once()

    def _run(self, queue: TransportQueue, task: Callable[[], None]) -> None:
        try:
            task()
        finally:
            with self._condition:
                queue.in_flight -= 1
                self._is_woken = True
                self._condition.notify_all()
            self._on_change()

    def wake(self) -> None:
        """End the current or next `wait`."""
        with self._condition:
            self._is_woken = True
            self._condition.notify_all()

    def clear_wake(self) -> None:
        """Ignore earlier calls of `wake`; to be called before the work that they request."""
        with self._condition:
            self._is_woken = False

    def wait(self, timeout: float | None) -> None:
        """Wait for `wake` or the end of an attempt, at most `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_woken, timeout=timeout)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is in progress and `wake` was not called since `clear_wake`."""
        with self._condition:
            return not self._queues.in_flight and not self._is_woken

    def wait_until_idle(self, timeout: float | None) -> bool:
        """Wait until nothing is in progress, at most `timeout` seconds; returns whether that is so."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._queues.in_flight, timeout=timeout)

    def shutdown(self, *, wait: bool) -> None:
        """End the threads; with `wait`, return only after they have ended."""
        self._executor.shutdown(wait=wait, cancel_futures=True)


class _Once:
    """A callable that runs once, in the first thread that calls it."""

    def __init__(self, task: Callable[[], None]) -> None:
        self._task = task
        self._taken = threading.Lock()  # never released

    def __call__(self) -> None:
        if self._taken.acquire(blocking=False):
            self._task()
