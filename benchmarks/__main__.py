"""Run all benchmarks one after another, in about half an hour, and print their figures.

    python -m benchmarks [--write]

`--write` also writes docs/performance.md. The exit code is 1 if a target is missed. `benchmarks.hostile` is not
included, because its cases have their own limits and take several minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import TREES_VARIABLE, Figure, parse_figure, report
from benchmarks.page import write_page

TOP = Path(__file__).parent.parent
# Each runs in its own process, so that the memory of one does not affect the next.
BENCHMARKS = (
    "scan",
    "startup",
    "idle",
    "latency",
    "outbox",
    "rendering",
    "delivery",
    "ledger",
    "commands",
    "syftbg",
    "alerts",
    "blackhole",
    "centre",
    "pages",
)


def run_benchmark(name: str) -> Iterator[Figure]:
    """The figures of one benchmark, as it prints them."""
    missed = False
    with subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, cwd=TOP
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            figure = parse_figure(line)
            missed = missed or figure.is_met is False
            yield figure
    if process.returncode and not missed:
        yield Figure(name, None, "", is_met=False, note=f"ended with an error (exit code {process.returncode})")


def main(arguments: list[str]) -> int:
    found: list[Figure] = []

    def measured() -> Iterator[Figure]:
        for name in BENCHMARKS:
            for figure in run_benchmark(name):
                found.append(figure)
                yield figure

    with tempfile.TemporaryDirectory(prefix="bench-trees-") as trees:
        os.environ[TREES_VARIABLE] = trees
        code = report(measured())
        if "--write" in arguments:
            write_page(found, TOP / "docs")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
