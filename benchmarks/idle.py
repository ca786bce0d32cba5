"""What does a worker take while nothing happens?

    python -m benchmarks.idle [jobs]        (default: 10000)

A real worker with watchdog and the usual interval of 30 s, from the look after its first one on, over two minutes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.ground import Figure, below, box_of, look_after, proc, report, tree, worker

INTERVAL = 30  # seconds
MEASURED = 120.0  # seconds
LIMIT = 0.5  # % of one core


def cpu_seconds(pid: int) -> float | None:
    """What a process has taken of the processor so far; None where nobody says so."""
    said = proc(pid, "stat")
    if said is None:
        return None
    fields = said.rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def figures(count: int) -> Iterator[Figure]:
    name, unit = f"processor while idle, {count:,} jobs, scanning every {INTERVAL} s", "% of a core"
    if cpu_seconds(os.getpid()) is None:
        yield Figure(name, None, unit, note="skipped: there is no /proc here")
        return
    with tree(count) as root, box_of(root, interval=INTERVAL) as box, worker(box.home) as pid:
        look_after(box.home, time.time())
        before, begun = cpu_seconds(pid) or 0.0, time.perf_counter()
        time.sleep(MEASURED)  # what is measured
        taken = (cpu_seconds(pid) or 0.0) - before
        share = 100 * taken / (time.perf_counter() - begun)
    yield below(LIMIT, name, share, unit)


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 10_000)))
