"""Kills the program under test from inside, with SIGKILL, at a fail-point."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable


def kill_at(target: str) -> Callable[[str], None]:
    """A listener that kills this process at a fail-point; `target` is `POINT:N`: at the Nth time it is reached, from 1.

    The name of the point is printed to stdout, which distinguishes this from a kill from outside.
    """
    point, _, count = target.rpartition(":")
    left = int(count)
    lock = threading.Lock()

    def on_reach(name: str) -> None:
        nonlocal left
        if name != point:
            return
        with lock:  # not released before the process is killed
            left -= 1
            if left == 0:
                os.write(sys.stdout.fileno(), f"{point}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()

    return on_reach


def exit_with_parent() -> None:
    """Kill this process when stdin is closed, so that it does not outlive the harness."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
