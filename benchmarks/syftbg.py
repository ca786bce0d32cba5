"""How long does a look take beside a check of syft-bg's JobMonitor, and how do both grow?

    python -m benchmarks.syftbg

syft-bg comes from PyPI into an environment of its own below `.bench/`, which the next run finds there. Both look at the
same trees, in which nothing changed and everything has been told; at most 1,000 jobs, for a check takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.ground import Figure, at_most, medians, name_of, report, tree
from benchmarks.scan import knowing
from tests.support import OWNER

VERSION = "0.3.12"
PLACE = Path(__file__).parent.parent / ".bench" / f"syft-bg-{VERSION}"
CHECK = Path(__file__).with_name("syftbg_check.py")
COUNTS = (250, 1_000)
ROUNDS, LOOKS = 5, 9
INSTALL_SECONDS = 900.0


def look_name(count: int) -> str:
    return f"scan, nothing changed, {count:,} jobs, beside syft-bg {VERSION}"


def installed() -> Path | None:
    """The Python that has syft-bg; None where it cannot be installed."""
    python = PLACE / "bin" / "python"
    if (PLACE / "whole").exists():
        return python
    try:
        venv.create(PLACE, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", f"syft-bg=={VERSION}"]
        subprocess.run(command, capture_output=True, check=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError):
        shutil.rmtree(PLACE, ignore_errors=True)
        return None
    (PLACE / "whole").touch()
    return python


@contextlib.contextmanager
def checking(python: Path, root: Path, count: int) -> Iterator[Callable[[], float]]:
    """A call is one check; it returns its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.json"
        told = {name_of(number): ["new", "approved", "executed"] for number in range(count)}
        state.write_text(json.dumps({"notified_jobs": told}), encoding="utf-8")
        command = [str(python), str(CHECK), str(root), OWNER, str(state)]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert program.stdin is not None and program.stdout is not None  # noqa: PT018 - both are pipes
        asked, answers = program.stdin, program.stdout

        def check() -> float:
            asked.write("\n")
            asked.flush()
            return float(answers.readline())

        try:
            yield check
        finally:
            asked.close()
            program.wait()


def looks(python: Path, count: int) -> tuple[float, float]:
    """The median seconds of our look and of its check, in rounds of both; several looks, for they are so short."""
    with tree(count) as root, checking(python, root, count) as check:
        reader = knowing(root)
        check()
        rounds = [(*medians(LOOKS, lambda: reader.accept(reader.look())), check()) for _ in range(ROUNDS)]
    ours, theirs = zip(*rounds, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def figures() -> Iterator[Figure]:
    python = installed()
    if python is None:
        yield Figure(look_name(COUNTS[-1]), None, "ms", note="skipped: syft-bg cannot be installed here")
        return
    few, many = [looks(python, count) for count in COUNTS]
    for count, (ours, theirs) in zip(COUNTS, (few, many), strict=True):
        yield at_most(1.0, look_name(count), ours * 1000, "ms", theirs * 1000)
    growth, its_growth = (after / before for before, after in zip(few, many, strict=True))
    yield Figure(
        f"growth of a scan from {COUNTS[0]:,} to {COUNTS[-1]:,} jobs, beside syft-bg {VERSION}", growth, "x", its_growth
    )


if __name__ == "__main__":
    sys.exit(report(figures()))
