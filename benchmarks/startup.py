"""How long does a restart take until its first scan is done, and how much memory does a worker want?

    python -m benchmarks.startup [jobs]        (default: 100000)

A real worker is started again and again in a home: the first time it knows nothing, from then on it knows all. The
median restart is measured from the start of the process, and beside it stand the quiet looks of the same workers that
follow. Memory is the most that the process ever held (VmHWM, in units of 1024, as `top` counts); its growth is over a
worker of a hundredth of the jobs.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.ground import Figure, at_most, below, box_of, look_after, proc, report, tree, worker
from syftnotify import running
from tests.support import Box

FACTOR = 3.0
MOST_MB = 160.0
MOST_KB = 1.0  # for each job more
SHARE = 100  # how many times fewer jobs the small tree has
LOOKS = 3
RESTARTS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a worker."""

    seconds: float  # until its first scan was done
    of_look: float  # of these, by its own report
    of_quiet_look: float  # the median of some that follow
    peak_kb: int | None  # None where nobody says so


def peak_kb(pid: int) -> int | None:
    """The most memory that a process ever held."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", proc(pid, "status") or "", re.MULTILINE)
    return int(found[1]) if found else None


def start(box: Box) -> Start:
    """Start a worker, and let it look some more times."""
    begun = time.perf_counter()
    with worker(box.home) as pid:
        taken = time.perf_counter() - begun
        of_look = float(running.read(box.home).last_scan["seconds"])
        quiet = statistics.median(look_after(box.home, time.time()) for _ in range(LOOKS))
        return Start(taken, of_look, quiet, peak_kb(pid))


def starts(root: Path) -> tuple[Start, Start]:
    """A first start, and the median of some restarts."""
    with box_of(root, interval=2) as box:
        first, *others = [start(box) for _ in range(1 + RESTARTS)]
    median = {
        item.name: statistics.median(getattr(each, item.name) for each in others)
        for item in fields(Start)
        if item.name != "peak_kb"
    }
    return first, Start(**median, peak_kb=max((each.peak_kb or 0 for each in others), default=0) or None)


def figures(count: int) -> Iterator[Figure]:
    with tree(count // SHARE) as root:
        small = starts(root)
    with tree(count) as root:
        large = starts(root)
    _, again = large
    name = f"restart until its first scan is done, {count:,} jobs"
    yield at_most(
        FACTOR, name, again.seconds, "s", again.of_quiet_look, note=f"the scan itself took {again.of_look:.2f} s"
    )
    for what, few, many in zip(("first start", "restart"), small, large, strict=True):
        name = f"memory, {what}, {count:,} jobs"
        if few.peak_kb is None or many.peak_kb is None:
            yield Figure(name, None, "MB", note="skipped: there is no /proc here")
            continue
        yield below(MOST_MB, name, many.peak_kb / 1024, "MB")
        growth = (many.peak_kb - few.peak_kb) / (count - count // SHARE)
        yield below(MOST_KB, f"memory a job, {what}, from {count // SHARE:,} to {count:,} jobs", growth, "KB")


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 100_000)))
