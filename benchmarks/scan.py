"""How long does a scan take: in a worker, when nothing changed, after ten jobs did, and when nothing is known yet?

    python -m benchmarks.scan [jobs ...]        (default: 250 1000 10000 100000)

Of a real worker it is what `status --json` reports as `last_scan.seconds`, with watching off, beside a bare walk in
another process. The other figures are those of the job reader alone.

Beside each stands a bare loop in the same process. For a quiet look it lists the folders of jobs with `os.scandir` and
stats the one file of each job that decides, its state.yaml; for the first scan it reads and parses the config.yaml and
the state.yaml of each job with libyaml. The figures without a target are there for the growth.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import yaml

from benchmarks.ground import (
    AGE,
    SCIENTISTS,
    Figure,
    at_most,
    box_of,
    jobs_of,
    look_after,
    medians,
    report,
    seconds,
    state,
    state_path,
    tree,
    worker,
    write,
)
from syftnotify import running
from syftnotify.observe import JobReader
from tests.support import OWNER, wait_until

COUNTS = (250, 1_000, 10_000, 100_000)
JUDGED_FROM = 10_000  # jobs: below that a look is over in some milliseconds, whatever it does
CHANGED_FROM = 100_000
FACTOR, FIRST_FACTOR = 1.2, 1.5
CHANGED, CHANGED_SECONDS = 10, 0.001  # jobs, and what each may take
ROUNDS, FIRST_ROUNDS = 15, 3
WORKER_JOBS = 10_000
WORKER_INTERVAL = 1  # seconds
WARM_UP, WORKER_ROUNDS = 6, 30  # scans; the first ones may still read what was young
SETTLED_SECONDS = 600.0  # until it is given up

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _jobs(base: Path) -> Iterator[tuple[str, str]]:
    """The folders of each job: its submission, and its results."""
    for scientist in os.scandir(base / "inbox"):
        for segment in os.scandir(scientist.path):
            results = f"{base}/review/{scientist.name}/{segment.name}"
            for job in os.scandir(segment.path):
                yield job.path, f"{results}/{job.name}"


def bare_walk(base: Path) -> int:
    """The least that anybody who wants to know must do."""
    count = 0
    for scientist in os.scandir(base / "inbox"):
        for segment in os.scandir(scientist.path):
            results = f"{base}/review/{scientist.name}/{segment.name}"
            for job in os.scandir(segment.path):
                os.stat(f"{results}/{job.name}/state.yaml")
                count += 1
    return count


def bare_reading(base: Path) -> int:
    """The least that anybody who knows nothing must do."""
    count = 0
    for submission, results in _jobs(base):
        for path in (f"{submission}/config.yaml", f"{results}/state.yaml"):
            with open(path, "rb") as file:
                yaml.load(file.read(), _Loader)
        count += 1
    return count


def knowing(root: Path) -> JobReader:
    """A reader that has nothing left to read again."""
    reader = JobReader(root, OWNER)

    def is_quiet() -> bool:
        look = reader.look()
        reader.accept(look)
        return not look.jobs

    wait_until(is_quiet, SETTLED_SECONDS, "a look at which nothing is new")
    return reader


def quiet_name(count: int) -> str:
    return f"scan, nothing changed, {count:,} jobs"


def first_look(root: Path, count: int) -> Figure:
    """One round of the largest tree takes minutes: the bare loop stands before and behind ours, against drift."""

    def ours() -> None:
        assert JobReader(root, OWNER).look().count == count

    def bare() -> None:
        assert bare_reading(jobs_of(root)) == count

    before, taken, behind = medians(FIRST_ROUNDS if count < CHANGED_FROM else 1, bare, ours, bare)
    name = f"first scan, {count:,} jobs"
    return at_most(FIRST_FACTOR, name, taken, "s", statistics.mean((before, behind)))


def quiet_look(root: Path, reader: JobReader, count: int) -> Figure:
    def ours() -> None:
        look = reader.look()
        assert not look.jobs
        reader.accept(look)

    assert bare_walk(jobs_of(root)) == count
    bare, taken = medians(ROUNDS, lambda: bare_walk(jobs_of(root)), ours)
    if count < JUDGED_FROM:
        return Figure(quiet_name(count), taken * 1000, "ms", bare * 1000)
    return at_most(FACTOR, quiet_name(count), taken * 1000, "ms", bare * 1000)


def worker_scan(root: Path, count: int) -> Figure:
    """The scans of a worker for which nothing is new, and a bare walk in another process after each."""
    walks, scans = [], []
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawn) as other,
        box_of(root, interval=WORKER_INTERVAL, watch="off") as box,
        worker(box.home),
    ):
        moment = time.time()
        for number in range(WARM_UP + WORKER_ROUNDS):
            scan = look_after(box.home, moment)
            moment = running.read(box.home).last_scan_s or moment
            walk = other.submit(timed_walk, jobs_of(root)).result()
            if number >= WARM_UP:
                scans.append(scan)
                walks.append(walk)
    scanned, walked = statistics.median(scans), statistics.median(walks)
    name = f"scan of a worker, nothing changed, {count:,} jobs of {SCIENTISTS} scientists"
    return at_most(FACTOR, name, scanned * 1000, "ms", walked * 1000)


def timed_walk(base: Path) -> float:
    """The seconds that one bare walk takes."""
    return seconds(lambda: bare_walk(base))


def changed_look(root: Path, reader: JobReader, count: int) -> Figure:
    """Each round rewrites the states of ten other jobs, so that their runs ended once more."""
    walks, looks = [], []
    old = time.time() - AGE / 2
    for number in range(ROUNDS):
        changed = [number + each * (count // CHANGED) for each in range(CHANGED)]
        for job in changed:
            write(state_path(root, job), state(job, minute=30), at=old)
        walks.append(seconds(lambda: bare_walk(jobs_of(root))))
        begun = time.perf_counter()
        look = reader.look()
        reader.accept(look)
        looks.append(time.perf_counter() - begun)
        assert len(look.jobs) >= CHANGED
    bare, taken = statistics.median(walks), statistics.median(looks)
    return Figure(
        f"scan after {CHANGED} of {count:,} jobs changed",
        taken * 1000,
        "ms",
        bare * 1000,
        f"at most {FACTOR:g} x + {CHANGED_SECONDS * 1000:g} ms a changed job",
        taken <= FACTOR * bare + CHANGED * CHANGED_SECONDS,
    )


def figures(counts: list[int]) -> Iterator[Figure]:
    for count in counts:
        with tree(count) as root:
            if count == WORKER_JOBS:
                yield worker_scan(root, count)
            if count >= JUDGED_FROM:
                yield first_look(root, count)
            reader = knowing(root)
            yield quiet_look(root, reader, count)
            if count >= CHANGED_FROM:
                yield changed_look(root, reader, count)


if __name__ == "__main__":
    sys.exit(report(figures([int(word) for word in sys.argv[1:]] or list(COUNTS))))
