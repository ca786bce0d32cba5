"""How long does a restart take until its first look is done, and how much memory does a worker want?

    python -m benchmarks.startup [jobs]        (default: 100000)

A real worker is started twice in a home: the first time it knows nothing, the second time it knows all. The restart is
measured from the start of the process; beside it stands a quiet look at the same tree in this process. Memory is the
most that the process ever held (VmHWM, in units of 1024, as `top` counts); its growth is over a worker of a hundredth
of the jobs.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import Figure, at_most, below, box_of, jobs_of, look_after, medians, proc, report, tree, worker
from benchmarks.scan import bare_walk
from syftnotify import running
from syftnotify.observe import JobReader
from tests.support import OWNER, Box

FACTOR = 3.0
MOST_MB = 160.0
MOST_KB = 1.0  # for each job more
SHARE = 100  # how many times fewer jobs the small tree has
ROUNDS = 7
STARTS = ("first start", "restart")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a worker."""

    seconds: float  # until its first look was done
    of_look: float  # of these, by its own report
    peak_kb: int | None  # None where nobody says so


def peak_kb(pid: int) -> int | None:
    """The most memory that a process ever held."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", proc(pid, "status") or "", re.MULTILINE)
    return int(found[1]) if found else None


def start(box: Box) -> Start:
    """Start a worker, and let it look a second time."""
    begun = time.perf_counter()
    with worker(box.home) as pid:
        taken = time.perf_counter() - begun
        of_look = float(running.read(box.home).last_scan["seconds"])
        look_after(box.home, time.time())
        return Start(taken, of_look, peak_kb(pid))


def starts(root: Path) -> list[Start]:
    """A first start and a restart."""
    with box_of(root, interval=5) as box:
        return [start(box) for _ in STARTS]


def quiet_seconds(root: Path) -> float:
    reader = JobReader(root, OWNER)
    reader.accept(reader.look())
    _, taken = medians(ROUNDS, lambda: bare_walk(jobs_of(root)), lambda: reader.accept(reader.look()))
    return taken


def figures(count: int) -> Iterator[Figure]:
    with tree(count // SHARE) as root:
        small = starts(root)
    with tree(count) as root:
        large = starts(root)
        quiet = quiet_seconds(root)
    again = large[-1]
    name = f"restart until its first look is done, {count:,} jobs"
    yield at_most(FACTOR, name, again.seconds, "s", quiet, note=f"the look itself took {again.of_look:.2f} s")
    for what, few, many in zip(STARTS, small, large, strict=True):
        name = f"memory, {what}, {count:,} jobs"
        if few.peak_kb is None or many.peak_kb is None:
            yield Figure(name, None, "MB", note="skipped: there is no /proc here")
            continue
        yield below(MOST_MB, name, many.peak_kb / 1024, "MB")
        growth = (many.peak_kb - few.peak_kb) / (count - count // SHARE)
        yield below(MOST_KB, f"memory a job, {what}, from {count // SHARE:,} to {count:,} jobs", growth, "KB")


if __name__ == "__main__":
    sys.exit(report(figures(int(sys.argv[1]) if sys.argv[1:] else 100_000)))
