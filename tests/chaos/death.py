"""How a program under test ends: at a named moment, by its own hand, as hard as a power cut ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable


def die_at(order: str) -> Callable[[str], None]:
    """A listener that kills this process when a moment is reached; `order` is `POINT:N`, N counts from 1.

    The name of the point is printed to stdout, which distinguishes this from a kill from outside.
    """
    point, _, count = order.rpartition(":")
    left = int(count)
    lock = threading.Lock()

    def on_reach(name: str) -> None:
        nonlocal left
        if name != point:
            return
        with lock:  # never let go of by the one who dies
            left -= 1
            if left == 0:
                os.write(sys.stdout.fileno(), f"{point}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()

    return on_reach


def end_with_the_harness() -> None:
    """Die when stdin ends: a harness that was itself killed leaves nobody behind."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
