"""Messages per second to a server with a response time of 100 ms, with sixteen concurrent deliveries.

    python -m benchmarks.delivery [messages]        (default: 800)

A real worker with one webhook. Measured from the arrival of the first message to the end of the last response. The
baseline is the ideal: a server with sixteen requests in progress all the time.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Figure, make_box, report, worker
from benchmarks.outbox import make_notifications
from syftnotify.store.outbox.store import SqliteOutbox
from tests.fakes.web import respond, serve_web
from tests.support import wait_until

RESPONSE_SECONDS = 0.1
CONCURRENT = 16
MIN_RATIO = 0.9  # of the ideal
TIMEOUT = 300.0  # seconds


def figures(count: int, *, serves: bool = False) -> Iterator[Figure]:
    arrived: list[float] = []
    responded: list[float] = []
    accept = respond(200, "ok")

    def handle(connection: socket.socket) -> None:
        arrived.append(time.perf_counter())
        time.sleep(RESPONSE_SECONDS)  # the processing time of the server
        accept(connection)
        responded.append(time.perf_counter())

    with (
        tempfile.TemporaryDirectory() as root,
        serve_web(handle) as hook,
        make_box(Path(root), interval=1, hook=hook.url, serves=serves) as box,
        worker(box.home),
    ):
        outbox = SqliteOutbox(box.home.outbox, repair=False)
        outbox.enqueue(*make_notifications(count, "hook", to="hook", medium="webhook/hook"), time.time())
        outbox.close()
        wait_until(lambda: len(responded) >= count, TIMEOUT, f"{count} messages")
    assert len(responded) == count
    rate, ideal = count / (max(responded) - min(arrived)), CONCURRENT / RESPONSE_SECONDS
    name = f"delivery of {count:,} messages to a server that responds after {RESPONSE_SECONDS * 1000:g} ms"
    yield Figure(
        f"{name}{', with the API' if serves else ''}",
        rate,
        "per second",
        ideal,
        f"at least {MIN_RATIO:g} x",
        rate >= MIN_RATIO * ideal,
        "the baseline is the ideal",
    )


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 800)))
