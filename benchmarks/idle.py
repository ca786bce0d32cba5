"""CPU time of an idle worker.

    python -m benchmarks.idle [jobs]        (default: 10000)

A real worker with watchdog and the default interval of 30 s, measured for two minutes from its second scan on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.common import Figure, limit_figure, make_box, next_scan_seconds, read_proc, report, tree, worker

INTERVAL = 30  # seconds
DURATION = 120.0  # seconds
MAX_PERCENT = 0.5  # % of one core


def cpu_seconds(pid: int) -> float | None:
    """CPU seconds that a process has used; None without /proc."""
    stat = read_proc(pid, "stat")
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def figures(count: int) -> Iterator[Figure]:
    name, unit = f"CPU while idle, {count:,} jobs, scan every {INTERVAL} s", "% of a core"
    if cpu_seconds(os.getpid()) is None:
        yield Figure(name, None, unit, note="skipped: there is no /proc here")
        return
    with tree(count) as root, make_box(root, interval=INTERVAL) as box, worker(box.home) as pid:
        next_scan_seconds(box.home, time.time())
        before, started = cpu_seconds(pid) or 0.0, time.perf_counter()
        time.sleep(DURATION)  # the measured period
        taken = (cpu_seconds(pid) or 0.0) - before
        share = 100 * taken / (time.perf_counter() - started)
    yield limit_figure(MAX_PERCENT, name, share, unit)


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 10_000)))
