"""How many messages a second reach a server that thinks for 100 ms, sixteen at a time?

    python -m benchmarks.delivery [messages]        (default: 800)

A real worker with one webhook. The clock runs from the arrival of the first message to the end of the last answer; the
ideal is a server that is never kept waiting.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground import Figure, box_of, report, worker
from benchmarks.outbox import owed
from syftnotify.store.outbox.store import SqliteOutbox
from tests.support import wait_until
from tests.web import says, web

ANSWER_SECONDS = 0.1
AT_ONCE = 16
SHARE = 0.9  # of the ideal
PATIENCE = 300.0  # seconds until it is given up


def figures(count: int) -> Iterator[Figure]:
    arrived: list[float] = []
    answered: list[float] = []
    accept = says(200, "ok")

    def answer(connection: socket.socket) -> None:
        arrived.append(time.perf_counter())
        time.sleep(ANSWER_SECONDS)  # what the server does with it
        accept(connection)
        answered.append(time.perf_counter())

    with (
        tempfile.TemporaryDirectory() as root,
        web(answer) as hook,
        box_of(Path(root), interval=1, hook=hook.url) as box,
        worker(box.home),
    ):
        outbox = SqliteOutbox(box.home.outbox, repair=False)
        outbox.enqueue(*owed(count, "hook", to="hook", medium="webhook/hook"), time.time())
        outbox.close()
        wait_until(lambda: len(answered) >= count, PATIENCE, f"{count} messages")
    assert len(answered) == count
    rate, ideal = count / (max(answered) - min(arrived)), AT_ONCE / ANSWER_SECONDS
    yield Figure(
        f"delivery of {count:,} messages to a server that answers after {ANSWER_SECONDS * 1000:g} ms",
        rate,
        "a second",
        ideal,
        f"at least {SHARE:g} x",
        rate >= SHARE * ideal,
        "the baseline is the ideal",
    )


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 800)))
