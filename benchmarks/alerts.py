"""How soon after a run's end lies on disk does its alert begin to arrive, while another target is dead?

    python -m benchmarks.alerts [runs]        (default: 1000)

A real worker with watchdog and two alert rules for all jobs: one webhook answers, the other takes every connection and
is silent. The runs of twenty scientists end one after the other, twenty a second: each causes fewer events than the
limit for one submitter. The baseline is the same with the live target alone.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground import Figure, report
from tests.mailserver import HOST, raw, swallows
from tests.support import Box, Clock
from tests.trees import TREES, Disk
from tests.web import Web, web

TARGET = 5.0  # seconds at the 99th percentile (A10)
SCIENTISTS = 20
GAP = 0.05  # seconds between two ends
PATIENCE = 120.0  # seconds until it is given up


class _Now(Clock):
    """The clock of this machine."""

    def time(self) -> float:
        return time.time()


def arrivals(hook: Web, count: int, seen: dict[str, float], done: threading.Event) -> None:
    """Note when each alert came, until all did."""
    read = 0
    until = time.monotonic() + PATIENCE + count * GAP
    while len(seen) < count and time.monotonic() < until:
        for request in hook.requests[read:]:
            read += 1
            seen.setdefault(request.json["job_name"], time.perf_counter())
        time.sleep(0.002)  # polled: what is measured is hundreds of times longer
    done.set()


def delays(runs: int, *, with_dead: bool) -> list[float]:
    """Seconds from the write that ended each run to its alert's arrival."""
    with tempfile.TemporaryDirectory() as folder, web() as hook, raw(swallows) as silent:
        box = Box(Path(folder), _Now())
        box.configure({"notify": {"interval": 30, "watch": "on"}, "routes": [{"events": ["job_held"]}]})
        tree = TREES["D"](Disk(box.root, time.time))
        names = {f"run-{number}": f"scientist{number % SCIENTISTS}@lab.example" for number in range(runs)}
        for scientist in dict.fromkeys(names.values()):
            tree.grant(scientist)
        for name, scientist in names.items():
            tree.submit(name, scientist)
            tree.approve(name, scientist)
        box.notify("alerts", "add", "--job", "*", "--webhook", hook.url, check=0)
        if with_dead:
            box.notify("alerts", "add", "--job", "*", "--webhook", f"http://{HOST}:{silent.port}/", check=0)
        box.notify("start", check=0)
        seen: dict[str, float] = {}
        done = threading.Event()
        threading.Thread(target=arrivals, args=(hook, runs, seen, done), daemon=True).start()
        ended = {}
        try:
            for name, scientist in names.items():
                tree.run(name, scientist, code=1)
                ended[name] = time.perf_counter()
                time.sleep(GAP)  # the pace of the ends
            done.wait()
        finally:
            box.notify("stop")
        assert len(seen) == runs, f"{runs - len(seen)} alerts never came"
        return sorted(seen[name] - ended[name] for name in names)


def figures(runs: int) -> Iterator[Figure]:
    alone = delays(runs, with_dead=False)
    beside = delays(runs, with_dead=True)
    p99, base = (statistics.quantiles(each, n=100)[98] for each in (beside, alone))
    yield Figure(
        f"alert beside a dead target, p99 of {runs:,} runs",
        p99,
        "s",
        base,
        f"at most {TARGET:g} s",
        p99 <= TARGET,
        f"p50 {statistics.median(beside):.3f} s, worst {beside[-1]:.3f} s",
    )


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))
