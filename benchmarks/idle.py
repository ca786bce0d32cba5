"""CPU time of an idle worker.

    python -m benchmarks.idle [jobs]        (default: 10000)

A real worker with watchdog and the default interval of 30 s, measured for two minutes from its second scan on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.ground import Figure, below, box_of, proc, report, scan_after, tree, worker

INTERVAL = 30  # seconds
MEASURED = 120.0  # seconds
LIMIT = 0.5  # % of one core


def cpu_seconds(pid: int) -> float | None:
    """CPU seconds that a process has used; None: unknown on this system."""
    stat = proc(pid, "stat")
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def figures(count: int) -> Iterator[Figure]:
    name, unit = f"CPU while idle, {count:,} jobs, scan every {INTERVAL} s", "% of a core"
    if cpu_seconds(os.getpid()) is None:
        yield Figure(name, None, unit, note="skipped: there is no /proc here")
        return
    with tree(count) as root, box_of(root, interval=INTERVAL) as box, worker(box.home) as pid:
        scan_after(box.home, time.time())
        before, begun = cpu_seconds(pid) or 0.0, time.perf_counter()
        time.sleep(MEASURED)  # the measured period
        taken = (cpu_seconds(pid) or 0.0) - before
        share = 100 * taken / (time.perf_counter() - begun)
    yield below(LIMIT, name, share, unit)


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 10_000)))
