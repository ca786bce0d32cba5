"""How long does a look take when nothing changed, beside a bare walk of the same files?

    python -m benchmarks.scan [jobs ...]        (default: 1000 10000)

The bare walk lists the folders of inbox/ with `os.scandir` and stats each job's two files with `os.stat`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from syftnotify.observe import JobReader

OWNER = "owner@datasite.example"
ROUNDS = 15

_CONFIG = "files: [main.py]\nname: job\nsubmitted_at: '2026-11-21T21:49:25.984946Z'\ntype: python\n"
_STATE = (
    "approved_at: '2026-11-21T21:49:32.665036Z'\ncompleted_at: '2026-11-21T21:49:34.815674Z'\n"
    "rejected_at: null\nreturn_code: 0\nreview_reason: null\nstatus: done\n"
)


def make_tree(root: Path, count: int) -> Path:
    """`count` ended jobs of ten scientists in layout D, written an hour ago; returns the owner's job folder."""
    base = root / OWNER / "app_data" / "job"
    old = time.time() - 3600
    for number in range(count):
        scientist = f"ds{number % 10}@lab.example"
        inbox = base / "inbox" / scientist / "v1" / f"job-{number}"
        review = base / "review" / scientist / "v1" / f"job-{number}"
        (inbox / "code").mkdir(parents=True)
        review.mkdir(parents=True)
        for path, text in (
            (inbox / "config.yaml", _CONFIG),
            (inbox / "code" / "main.py", ""),
            (review / "state.yaml", _STATE),
        ):
            path.write_text(text)
            os.utime(path, (old, old))
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, (old, old))
    return base


def bare_walk(base: Path) -> int:
    """The least that anybody who wants to know must do."""
    count = 0
    for scientist in os.scandir(base / "inbox"):
        for segment in os.scandir(scientist.path):
            review = os.path.join(base, "review", scientist.name, segment.name)
            for job in os.scandir(segment.path):
                os.stat(os.path.join(job.path, "config.yaml"))
                os.stat(os.path.join(review, job.name, "state.yaml"))
                count += 1
    return count


def seconds(action: Callable[[], object]) -> float:
    """The median of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def measure(count: int) -> dict[str, object]:
    """One figure for `count` jobs."""
    with tempfile.TemporaryDirectory() as folder:
        base = make_tree(Path(folder), count)
        reader = JobReader(Path(folder), OWNER)
        begun = time.perf_counter()
        look = reader.look()
        first = time.perf_counter() - begun
        reader.accept(look)
        assert look.count == count == bare_walk(base)

        def quiet() -> None:
            look = reader.look()
            assert look.jobs == []
            reader.accept(look)

        quiet()
        ours, bare = seconds(quiet), seconds(lambda: bare_walk(base))
    return {
        "name": f"quiet look, {count} jobs",
        "value": round(ours * 1000, 2),
        "unit": "ms",
        "baseline": round(bare * 1000, 2),
        "ratio": round(ours / bare, 2),
        "first_look_ms": round(first * 1000, 1),
    }


if __name__ == "__main__":
    for jobs in [int(word) for word in sys.argv[1:]] or [1000, 10000]:
        print(json.dumps(measure(jobs)))
