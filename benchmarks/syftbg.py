"""Duration of a scan compared with a check of syft-bg's JobMonitor, and the growth of both.

    python -m benchmarks.syftbg

syft-bg is installed from PyPI into a separate environment below `.bench/`, which later runs use again. Both scan the
same trees, in which nothing changed and everything was notified; at most 1,000 jobs, because a check takes seconds.
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

from benchmarks.common import Figure, job_name, median_times, ratio_figure, report, tree
from benchmarks.scan import warm_scanner
from tests.support import OWNER

VERSION = "0.3.12"
ENVIRONMENT = Path(__file__).parent.parent / ".bench" / f"syft-bg-{VERSION}"
CHECK = Path(__file__).with_name("syftbg_check.py")
COUNTS = (250, 1_000)
ROUNDS, SCANS = 5, 9
INSTALL_TIMEOUT = 900.0  # seconds


def scan_name(count: int) -> str:
    return f"scan, nothing changed, {count:,} jobs, compared with syft-bg {VERSION}"


def install() -> Path | None:
    """The Python that has syft-bg; None if it cannot be installed."""
    python = ENVIRONMENT / "bin" / "python"
    if (ENVIRONMENT / "whole").exists():
        return python
    try:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", f"syft-bg=={VERSION}"]
        subprocess.run(command, capture_output=True, check=True, timeout=INSTALL_TIMEOUT)
    except (OSError, subprocess.SubprocessError):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        return None
    (ENVIRONMENT / "whole").touch()
    return python


@contextlib.contextmanager
def running_checker(python: Path, root: Path, count: int) -> Iterator[Callable[[], float]]:
    """A function that runs one check and returns its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.json"
        notified = {job_name(number): ["new", "approved", "executed"] for number in range(count)}
        state.write_text(json.dumps({"notified_jobs": notified}), encoding="utf-8")
        command = [str(python), str(CHECK), str(root), OWNER, str(state)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018 - both are pipes
        requests, responses = process.stdin, process.stdout

        def check() -> float:
            requests.write("\n")
            requests.flush()
            return float(responses.readline())

        try:
            yield check
        finally:
            requests.close()
            process.wait()


def compare(python: Path, count: int) -> tuple[float, float]:
    """The median seconds of a scan and of a check, in rounds of both; several scans, because they are short."""
    with tree(count) as root, running_checker(python, root, count) as check:
        scanner = warm_scanner(root)

        def scan() -> None:
            scanner.scan()
            scanner.accept()

        check()
        rounds = [(*median_times(SCANS, scan), check()) for _ in range(ROUNDS)]
    ours, theirs = zip(*rounds, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def figures() -> Iterator[Figure]:
    python = install()
    if python is None:
        yield Figure(scan_name(COUNTS[-1]), None, "ms", note="skipped: syft-bg cannot be installed here")
        return
    few, many = [compare(python, count) for count in COUNTS]
    for count, (ours, theirs) in zip(COUNTS, (few, many), strict=True):
        yield ratio_figure(1.0, scan_name(count), ours * 1000, "ms", theirs * 1000)
    growth, syftbg_growth = (after / before for before, after in zip(few, many, strict=True))
    yield Figure(
        f"growth of a scan from {COUNTS[0]:,} to {COUNTS[-1]:,} jobs, compared with syft-bg {VERSION}",
        growth,
        "x",
        syftbg_growth,
    )


if __name__ == "__main__":
    sys.exit(report(figures()))
