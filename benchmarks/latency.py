"""Delay from a change on disk to the arrival of the first byte of its notification.

    python -m benchmarks.latency [jobs]        (default: 10000)

A real worker with one webhook. One job after the other ends again: its state.yaml is written in place, and the time is
measured from the end of that write until the server has the first byte of the request. Once with watchdog, once
polling every second, at random moments from a fixed seed.
"""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.common import (
    Figure,
    job_name,
    limit_figure,
    make_box,
    report,
    state_path,
    state_yaml,
    tree,
    worker,
    write_file,
)
from syftnotify.system import worker_status
from tests.fakes.mailserver import HOST, serve_raw
from tests.fakes.web import WebServer, respond
from tests.support import wait_until

WATCHED_CHANGES, POLLED_CHANGES = 200, 60  # changes
MAX_P50_MS, MAX_P99_MS = 40.0, 150.0
INTERVAL = 1  # seconds, while polling
TOLERANCE_MS = 250.0  # beyond the interval
SEED = 1
TIMEOUT = 60.0  # seconds for each change


def arrival_recorder(arrived: dict[str, float]) -> Callable[[socket.socket], None]:
    """A handler of connections: records the arrival of the first byte by job name, and responds."""

    def handle(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK):
            at = time.perf_counter()
            hook = WebServer(respond(200, "ok"))
            hook.handle(connection)
            for request in hook.requests:
                arrived.setdefault(request.json["job"]["name"], at)

    return handle


def delays(
    root: Path, count: int, changes: int, *, watch: str, interval: int, pause: tuple[float, float]
) -> list[float]:
    """Milliseconds from each change to its first byte; `pause` has the minimum and maximum seconds between two."""
    arrived: dict[str, float] = {}
    found = []
    rng = random.Random(SEED)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serve_raw(arrival_recorder(arrived)))
        hook = f"http://{HOST}:{server.port}/"
        box = stack.enter_context(make_box(root, interval=interval, watch=watch, hook=hook))
        stack.enter_context(worker(box.home))
        is_watching = watch == "on"
        wait_until(lambda: worker_status.read(box.home).watching is is_watching, TIMEOUT, "watching")
        for number in rng.sample(range(count), changes):
            time.sleep(rng.uniform(*pause))  # the rate of the changes
            minute = rng.randrange(30, 59)
            content = state_yaml(number, minute=minute)
            if content == Path(state_path(root, number)).read_bytes():  # the tree is kept from an earlier run
                content = state_yaml(number, minute=minute + 1)
            write_file(state_path(root, number), content)
            written, name = time.perf_counter(), job_name(number)
            wait_until(partial(arrived.__contains__, name), TIMEOUT, f"the message about {name}")
            found.append((arrived[name] - written) * 1000)
    return found


def figures(count: int) -> Iterator[Figure]:
    what = f"change on disk to first byte, {count:,} jobs"
    with tree(count) as root:
        watched = delays(root, count, WATCHED_CHANGES, watch="on", interval=30, pause=(0.25, 0.75))
        yield limit_figure(MAX_P50_MS, f"{what}, p50", statistics.median(watched), "ms")
        yield limit_figure(MAX_P99_MS, f"{what}, p99", statistics.quantiles(watched, n=100)[98], "ms")
        polled = delays(root, count, POLLED_CHANGES, watch="off", interval=INTERVAL, pause=(0.0, INTERVAL))
        limit = INTERVAL * 1000 + TOLERANCE_MS
        yield limit_figure(limit, f"{what}, polling every {INTERVAL} s, worst of {POLLED_CHANGES}", max(polled), "ms")


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 10_000)))
