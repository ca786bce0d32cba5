"""Wakeup pipe: what ends the wait of the worker."""

from __future__ import annotations

import threading
import time

from syftnotify.runtime.wakeup import WakeupPipe
from tests.support import TIMEOUT


def test_wakeup_before_or_during_a_wait_ends_it() -> None:
    pipe = WakeupPipe()
    started = time.monotonic()
    pipe.wake()
    pipe.wait(TIMEOUT)
    thread = threading.Timer(0.05, pipe.wake)
    thread.start()
    pipe.wait(TIMEOUT)
    thread.join()

    assert time.monotonic() - started < TIMEOUT
    pipe.close()


def test_many_wakeups_end_one_wait_and_never_block() -> None:
    """The buffer of the pipe is full long before."""
    pipe = WakeupPipe()
    for _ in range(100_000):
        pipe.wake()
    pipe.wait(TIMEOUT)

    started = time.monotonic()
    pipe.wait(0.05)
    assert time.monotonic() - started >= 0.04
    pipe.close()


def test_wakeup_of_a_closed_pipe_is_ignored() -> None:
    """A signal may arrive while the worker ends."""
    pipe = WakeupPipe()
    pipe.close()
    pipe.wake()
