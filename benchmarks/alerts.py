"""Delay from the end of a run on disk to the arrival of its alert, while another alert target never responds.

    python -m benchmarks.alerts [runs]        (default: 1000)

A real worker with file watching and two alert rules for all jobs: one webhook responds, the other accepts connections
and never responds. The runs of twenty scientists end one after the other, twenty per second, so that none of them
reaches the limit for one submitter. The baseline is the same with the responding webhook alone.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Figure, report
from tests.fakes.mailserver import HOST, never_respond, serve_raw
from tests.fakes.web import WebServer, serve_web
from tests.support import Box, Clock
from tests.trees import TREES, Disk

MAX_P99 = 5.0  # seconds at the 99th percentile
SCIENTISTS = 20
INTERVAL = 0.05  # seconds between the ends of two runs
TIMEOUT = 120.0  # seconds, in addition to the time of the runs


class _SystemClock(Clock):
    """The wall clock of this machine."""

    def time(self) -> float:
        return time.time()


def record_arrivals(hook: WebServer, count: int, arrived: dict[str, float], done: threading.Event) -> None:
    """Record the time of each alert by job name, until `count` have arrived."""
    read = 0
    deadline = time.monotonic() + TIMEOUT + count * INTERVAL
    while len(arrived) < count and time.monotonic() < deadline:
        for request in hook.requests[read:]:
            read += 1
            arrived.setdefault(request.json["job_name"], time.perf_counter())
        time.sleep(0.002)  # polling interval, far below the measured times
    done.set()


def delays(runs: int, *, with_unresponsive: bool) -> list[float]:
    """Sorted delays in seconds, from the write that ended each run to the arrival of its alert."""
    with tempfile.TemporaryDirectory() as folder, serve_web() as hook, serve_raw(never_respond) as unresponsive:
        box = Box(Path(folder), _SystemClock())
        box.configure({"notify": {"interval": 30, "watch": "on"}, "routes": [{"events": ["job_held"]}]})
        tree = TREES["D"](Disk(box.root, time.time))
        names = {f"run-{number}": f"scientist{number % SCIENTISTS}@lab.example" for number in range(runs)}
        for scientist in dict.fromkeys(names.values()):
            tree.grant(scientist)
        for name, scientist in names.items():
            tree.submit(name, scientist)
            tree.approve(name, scientist)
        box.notify("alerts", "add", "--job", "*", "--webhook", hook.url, check=0)
        if with_unresponsive:
            box.notify("alerts", "add", "--job", "*", "--webhook", f"http://{HOST}:{unresponsive.port}/", check=0)
        box.notify("start", check=0)
        arrived: dict[str, float] = {}
        done = threading.Event()
        threading.Thread(target=record_arrivals, args=(hook, runs, arrived, done), daemon=True).start()
        ended = {}
        try:
            for name, scientist in names.items():
                tree.run(name, scientist, code=1)
                ended[name] = time.perf_counter()
                time.sleep(INTERVAL)  # the rate of the ends
            done.wait()
        finally:
            box.notify("stop")
        assert len(arrived) == runs, f"{runs - len(arrived)} alerts have not arrived"
        return sorted(arrived[name] - ended[name] for name in names)


def figures(runs: int) -> Iterator[Figure]:
    baseline = delays(runs, with_unresponsive=False)
    measured = delays(runs, with_unresponsive=True)
    p99, base = (statistics.quantiles(each, n=100)[98] for each in (measured, baseline))
    yield Figure(
        f"alert beside a target that never responds, p99 of {runs:,} runs",
        p99,
        "s",
        base,
        f"at most {MAX_P99:g} s",
        p99 <= MAX_P99,
        f"p50 {statistics.median(measured):.3f} s, worst {measured[-1]:.3f} s",
    )


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))
