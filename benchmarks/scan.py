"""Duration of a scan: in a worker, without changes, after ten jobs changed, and the first one.

    python -m benchmarks.scan [jobs ...]        (default: 250 1000 10000 100000)

For a real worker it is `last_scan.seconds` of `status --json`, with watching off, compared with a bare walk in another
process. The other figures are those of the scanner alone.

The baseline of these is a bare loop in the same process. For a scan without changes it lists the folders of jobs with
`os.scandir` and stats the state.yaml of each job; for the first scan it reads and parses the config.yaml and the
state.yaml of each job with libyaml. The figures without a target show the growth.
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

from benchmarks.common import (
    FILE_AGE,
    SCIENTISTS,
    Figure,
    job_folder,
    make_box,
    median_times,
    next_scan_seconds,
    ratio_figure,
    report,
    state_path,
    state_yaml,
    time_call,
    tree,
    worker,
    write_file,
)
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.system import worker_status
from tests.support import OWNER, wait_until

COUNTS = (250, 1_000, 10_000, 100_000)
TARGET_FROM = 10_000  # jobs; with fewer, a scan takes a few milliseconds in any case
CHANGED_FROM = 100_000
MAX_RATIO, MAX_FIRST_RATIO = 1.2, 1.5
CHANGED_JOBS, SECONDS_PER_CHANGE = 10, 0.001  # jobs, and the time allowed for each
ROUNDS, FIRST_ROUNDS = 15, 3
WORKER_JOBS = 10_000
WORKER_INTERVAL = 1  # seconds
WARM_UP, WORKER_ROUNDS = 6, 30  # scans; the first ones may still read files that were fresh
TIMEOUT = 600.0  # seconds

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _jobs(base: Path) -> Iterator[tuple[str, str]]:
    """The folders of each job: its submission, and its results."""
    for scientist in os.scandir(base / "inbox"):
        for segment in os.scandir(scientist.path):
            results = f"{base}/review/{scientist.name}/{segment.name}"
            for job in os.scandir(segment.path):
                yield job.path, f"{results}/{job.name}"


def bare_walk(base: Path) -> int:
    """List the job folders and stat each state.yaml; returns the number of jobs."""
    count = 0
    for scientist in os.scandir(base / "inbox"):
        for segment in os.scandir(scientist.path):
            results = f"{base}/review/{scientist.name}/{segment.name}"
            for job in os.scandir(segment.path):
                os.stat(f"{results}/{job.name}/state.yaml")
                count += 1
    return count


def bare_parse(base: Path) -> int:
    """Read and parse both files of each job; returns the number of jobs."""
    count = 0
    for submission, results in _jobs(base):
        for path in (f"{submission}/config.yaml", f"{results}/state.yaml"):
            with open(path, "rb") as file:
                yaml.load(file.read(), _Loader)
        count += 1
    return count


def warm_scanner(root: Path) -> JobScanner:
    """A scanner that has nothing left to read again."""
    scanner = JobScanner(root, OWNER)

    def is_warm() -> bool:
        found = scanner.scan()
        scanner.accept()
        return not found.jobs

    wait_until(is_warm, TIMEOUT, "a scan without changes")
    return scanner


def unchanged_name(count: int) -> str:
    return f"scan, nothing changed, {count:,} jobs"


def first_scan(root: Path, count: int) -> Figure:
    """The bare loop runs before and after, because one round of the largest tree takes minutes and may drift."""

    def ours() -> None:
        assert JobScanner(root, OWNER).scan().count == count

    def bare() -> None:
        assert bare_parse(job_folder(root)) == count

    before, taken, after = median_times(FIRST_ROUNDS if count < CHANGED_FROM else 1, bare, ours, bare)
    name = f"first scan, {count:,} jobs"
    return ratio_figure(MAX_FIRST_RATIO, name, taken, "s", statistics.mean((before, after)))


def unchanged_scan(root: Path, scanner: JobScanner, count: int) -> Figure:
    def ours() -> None:
        found = scanner.scan()
        assert not found.jobs
        scanner.accept()

    assert bare_walk(job_folder(root)) == count
    bare, taken = median_times(ROUNDS, lambda: bare_walk(job_folder(root)), ours)
    if count < TARGET_FROM:
        return Figure(unchanged_name(count), taken * 1000, "ms", bare * 1000)
    return ratio_figure(MAX_RATIO, unchanged_name(count), taken * 1000, "ms", bare * 1000)


def worker_scan(root: Path, count: int, *, serves: bool = False) -> Figure:
    """Scans of a worker without changes, and a bare walk in another process after each."""
    walks, scans = [], []
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawn) as other,
        make_box(root, interval=WORKER_INTERVAL, watch="off", serves=serves) as box,
        worker(box.home),
    ):
        moment = time.time()
        for number in range(WARM_UP + WORKER_ROUNDS):
            scan = next_scan_seconds(box.home, moment)
            moment = worker_status.read(box.home).last_scan_s or moment
            walk = other.submit(walk_seconds, job_folder(root)).result()
            if number >= WARM_UP:
                scans.append(scan)
                walks.append(walk)
    scanned, walked = statistics.median(scans), statistics.median(walks)
    name = f"scan of a worker, nothing changed, {count:,} jobs of {SCIENTISTS} scientists"
    name += ", with the API" if serves else ""
    return ratio_figure(MAX_RATIO, name, scanned * 1000, "ms", walked * 1000)


def walk_seconds(base: Path) -> float:
    """The seconds that one bare walk takes."""
    return time_call(lambda: bare_walk(base))


def changed_scan(root: Path, scanner: JobScanner, count: int) -> Figure:
    """Each round rewrites the states of ten other jobs, so that their runs ended again."""
    walks, scans = [], []
    old = time.time() - FILE_AGE / 2
    for number in range(ROUNDS):
        changed = [number + each * (count // CHANGED_JOBS) for each in range(CHANGED_JOBS)]
        for job in changed:
            write_file(state_path(root, job), state_yaml(job, minute=30), at=old)
        walks.append(time_call(lambda: bare_walk(job_folder(root))))
        started = time.perf_counter()
        found = scanner.scan()
        scanner.accept()
        scans.append(time.perf_counter() - started)
        assert len(found.jobs) >= CHANGED_JOBS
    bare, taken = statistics.median(walks), statistics.median(scans)
    return Figure(
        f"scan after {CHANGED_JOBS} of {count:,} jobs changed",
        taken * 1000,
        "ms",
        bare * 1000,
        f"at most {MAX_RATIO:g} x + {SECONDS_PER_CHANGE * 1000:g} ms per changed job",
        taken <= MAX_RATIO * bare + CHANGED_JOBS * SECONDS_PER_CHANGE,
    )


def figures(counts: list[int]) -> Iterator[Figure]:
    for count in counts:
        with tree(count) as root:
            if count == WORKER_JOBS:
                yield worker_scan(root, count)
            if count >= TARGET_FROM:
                yield first_scan(root, count)
            scanner = warm_scanner(root)
            yield unchanged_scan(root, scanner, count)
            if count >= CHANGED_FROM:
                yield changed_scan(root, scanner, count)


if __name__ == "__main__":
    sys.exit(report(figures([int(argument) for argument in sys.argv[1:]] or list(COUNTS))))
