"""Runs all benches one after another, some twenty minutes, and prints their figures.

    python -m benchmarks [--write]

`--write` writes docs/performance.md, too. The exit code is 1 when a target is missed. `benchmarks.hostile` is not among
them: its cases have bounds of their own, and take some minutes more.
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
# Each in a process of its own, so that what one leaves in memory slows no other.
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
    """What one bench prints, as it comes."""
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
