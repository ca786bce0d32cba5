"""Duration of a restart until the first scan has finished, and memory of a worker.

    python -m benchmarks.startup [jobs]        (default: 100000)

A real worker is started several times in a home: the first start reads everything, the others use the scan cache. The
median restart is measured from the start of the process; its baseline is the later scans of the same workers, in
which nothing changed. Memory is the peak of the process (VmHWM, in units of 1024, like `top`); its growth is measured
against a worker with a hundredth of the jobs.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.common import (
    Figure,
    limit_figure,
    make_box,
    next_scan_seconds,
    ratio_figure,
    read_proc,
    report,
    tree,
    worker,
)
from syftnotify.system import worker_status
from tests.support import Box

MAX_RATIO = 3.0
MAX_MB = 160.0
MAX_KB_PER_JOB = 1.0  # for each job beyond the small tree
SIZE_RATIO = 100  # how many times fewer jobs the small tree has
SCANS = 3
RESTARTS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a worker."""

    seconds: float  # until its first scan had finished
    scan_seconds: float  # the duration of that scan, as the worker reports it
    unchanged_scan_seconds: float  # the median of the scans that follow
    peak_kb: int | None  # None without /proc


def peak_kb(pid: int) -> int | None:
    """The peak memory of a process."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", read_proc(pid, "status") or "", re.MULTILINE)
    return int(found[1]) if found else None


def measure_start(box: Box) -> Start:
    """Start a worker and measure the start and the scans that follow."""
    started = time.perf_counter()
    with worker(box.home) as pid:
        taken = time.perf_counter() - started
        scan_seconds = float(worker_status.read(box.home).last_scan["seconds"])
        unchanged = statistics.median(next_scan_seconds(box.home, time.time()) for _ in range(SCANS))
        return Start(taken, scan_seconds, unchanged, peak_kb(pid))


def measure_starts(root: Path) -> tuple[Start, Start]:
    """A first start, and the median of some restarts."""
    with make_box(root, interval=2) as box:
        first, *others = [measure_start(box) for _ in range(1 + RESTARTS)]
    median = {
        item.name: statistics.median(getattr(each, item.name) for each in others)
        for item in fields(Start)
        if item.name != "peak_kb"
    }
    return first, Start(**median, peak_kb=max((each.peak_kb or 0 for each in others), default=0) or None)


def figures(count: int) -> Iterator[Figure]:
    with tree(count // SIZE_RATIO) as root:
        small = measure_starts(root)
    with tree(count) as root:
        large = measure_starts(root)
    _, restart = large
    name = f"restart until its first scan has finished, {count:,} jobs"
    yield ratio_figure(
        MAX_RATIO,
        name,
        restart.seconds,
        "s",
        restart.unchanged_scan_seconds,
        note=f"the scan itself took {restart.scan_seconds:.2f} s",
    )
    for what, few, many in zip(("first start", "restart"), small, large, strict=True):
        name = f"memory, {what}, {count:,} jobs"
        if few.peak_kb is None or many.peak_kb is None:
            yield Figure(name, None, "MB", note="skipped: there is no /proc here")
            continue
        yield limit_figure(MAX_MB, name, many.peak_kb / 1024, "MB")
        growth = (many.peak_kb - few.peak_kb) / (count - count // SIZE_RATIO)
        yield limit_figure(
            MAX_KB_PER_JOB, f"memory per job, {what}, from {count // SIZE_RATIO:,} to {count:,} jobs", growth, "KB"
        )


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 100_000)))
