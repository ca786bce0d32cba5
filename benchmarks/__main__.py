"""Run all benchmarks one after another, in about twenty minutes, and print their figures.

    python -m benchmarks [--write]

`--write` also writes docs/performance.md. The exit code is 1 if a target is missed. `benchmarks.hostile` is not
included: its cases have other limits, and take some more minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground import TREES_VARIABLE, Figure, figure_of, report
from benchmarks.page import write_page

TOP = Path(__file__).parent.parent
# Each runs in its own process, so that none is slowed by what another one left in memory.
BENCHES = (
    "scan",
    "startup",
    "idle",
    "latency",
    "outbox",
    "delivery",
    "ledger",
    "commands",
    "syftbg",
    "alerts",
    "blackhole",
)


def figures_of(bench: str) -> Iterator[Figure]:
    """The figures of one benchmark, as it prints them."""
    missed = False
    with subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{bench}"], stdout=subprocess.PIPE, text=True, cwd=TOP
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            figure = figure_of(line)
            missed = missed or figure.is_met is False
            yield figure
    if program.returncode and not missed:
        yield Figure(bench, None, "", is_met=False, note=f"ended with an error (exit code {program.returncode})")


def main(words: list[str]) -> int:
    found: list[Figure] = []

    def kept() -> Iterator[Figure]:
        for bench in BENCHES:
            for figure in figures_of(bench):
                found.append(figure)
                yield figure

    with tempfile.TemporaryDirectory(prefix="bench-trees-") as trees:
        os.environ[TREES_VARIABLE] = trees
        code = report(kept())
        if "--write" in words:
            write_page(found, TOP / "docs")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
