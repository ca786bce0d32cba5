"""Shared by the benchmarks: trees of jobs, a home with its worker, time measurement, and figures as JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syftnotify.runtime import process
from syftnotify.system import worker_status
from syftnotify.system.paths import Home
from tests.support import OWNER, Box, wait_until

SCIENTISTS = 50
# The folder in which the trees of one run of all benchmarks are kept: 100,000 jobs take half a minute to write.
TREES_VARIABLE = "BENCH_TREES"
FILE_AGE = 3600.0  # seconds; a file is read again by the next scan only while it is younger than two seconds
SCAN_TIMEOUT = 900.0  # seconds; a first scan of 100,000 jobs takes long

# As syft-job 0.1.40 writes them.
_CONFIG = """\
canonical_name: JobSubmissionMetadata
code_path: null
datasets: null
dependencies: []
entrypoint: main.py
files:
- main.py
headers: {{}}
is_folder_submission: false
job_type: local
name: {name}
submitted_at: '2026-11-21T22:07:23.{number:06}Z'
type: python
version: '1'
"""
_STATE = """\
approval_method: manual
approved_at: '2026-11-21T22:07:26.{number:06}Z'
approved_by: {owner}
canonical_name: JobState
completed_at: '2026-11-21T22:{minute:02}:27.{number:06}Z'
received_at: '2026-11-21T22:07:25.{number:06}Z'
rejected_at: null
rejected_by: null
return_code: 0
review_reason: null
status: done
version: '1'
"""


# -- figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement; `value` is None if it was not possible, with the reason in `note`."""

    name: str
    value: float | None
    unit: str
    baseline: float | None = None  # in the same unit
    target: str | None = None
    is_met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The value divided by the baseline."""
        return None if self.value is None or not self.baseline else self.value / self.baseline

    def to_json(self) -> str:
        """The figure as one line of JSON."""
        data: dict[str, Any] = {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": _rounded(self.baseline),
            "ratio": _rounded(self.ratio),
            "target": self.target,
            "pass": self.is_met,
        }
        return json.dumps({**data, "note": self.note} if self.note else data)


def parse_figure(line: str) -> Figure:
    """Parse a line of `Figure.to_json`."""
    data = json.loads(line)
    return Figure(
        data["name"], data["value"], data["unit"], data["baseline"], data["target"], data["pass"], data.get("note", "")
    )


def ratio_figure(factor: float, name: str, value: float, unit: str, baseline: float, *, note: str = "") -> Figure:
    """A figure with the target of at most `factor` times its baseline."""
    return Figure(name, value, unit, baseline, f"at most {factor:g} x", value <= factor * baseline, note)


def limit_figure(limit: float, name: str, value: float, unit: str, *, note: str = "") -> Figure:
    """A figure with an absolute target."""
    return Figure(name, value, unit, None, f"at most {limit:,g} {unit}", value <= limit, note)


def report(figures: Iterable[Figure]) -> int:
    """Print each figure when it is measured; returns the exit code, 1 if one missed its target."""
    code = 0
    for figure in figures:
        print(figure.to_json(), flush=True)
        if figure.is_met is False:
            code = 1
    return code


def _rounded(value: float | None) -> float | None:
    """`value` with four significant digits; more would be noise."""
    return None if value is None else float(f"{value:.4g}")


# -- time ------------------------------------------------------------------------------------------------------------


def time_call(action: Callable[[], object]) -> float:
    """The seconds that one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def median_times(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """The median seconds of each action, in rounds of all of them, so that a disturbance affects all equally."""
    taken = [[time_call(action) for action in actions] for _ in range(rounds)]
    return [statistics.median(each) for each in zip(*taken, strict=True)]


# -- trees -----------------------------------------------------------------------------------------------------------


def write_file(path: Path | str, content: bytes, *, at: float | None = None) -> None:
    """Write a file in place; `at` is its timestamp in seconds since 1970, now if not given."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, content)
    if at is not None:
        os.utime(descriptor, (at, at))
    os.close(descriptor)


def write_job(folder: Path | str, config: bytes, *, code: bool = False, at: float | None = None) -> None:
    """Write one submission."""
    os.makedirs(f"{folder}/code" if code else folder)
    if code:
        write_file(f"{folder}/code/main.py", b"print(1)\n", at=at)
    write_file(f"{folder}/run.sh", b"#!/bin/bash\npython code/main.py\n", at=at)
    write_file(f"{folder}/config.yaml", config, at=at)


def job_folder(root: Path) -> Path:
    """The owner's job folder."""
    return root / OWNER / "app_data" / "job"


def state_path(root: Path, number: int) -> str:
    """The path of a job's state in a tree of `write_tree`."""
    return f"{job_folder(root)}/review/{_scientist(number)}/v1/{job_name(number)}/state.yaml"


def state_yaml(number: int, *, minute: int = 7) -> bytes:
    """The state of a job that ended successfully in that minute of the hour; another minute is another run."""
    return _STATE.format(owner=OWNER, number=number, minute=minute).encode()


def job_name(number: int) -> str:
    return f"job-{number}"


def _scientist(number: int) -> str:
    return f"ds{number % SCIENTISTS}@lab.example"


def write_tree(root: Path, count: int) -> None:
    """Write `count` ended jobs of fifty scientists in layout D, with timestamps of an hour ago."""
    base = job_folder(root)
    at = time.time() - FILE_AGE
    for number in range(count):
        below_scientist = f"{_scientist(number)}/v1/{job_name(number)}"
        submission, results = f"{base}/inbox/{below_scientist}", f"{base}/review/{below_scientist}"
        config = _CONFIG.format(name=job_name(number), number=number).encode()
        write_job(submission, config, code=True, at=at)
        os.makedirs(results)
        for name, content in (("stdout.txt", b"1\n"), ("returncode.txt", b"0")):
            write_file(f"{results}/{name}", content, at=at)
        write_file(f"{results}/state.yaml", state_yaml(number), at=at)
    for number in range(min(count, SCIENTISTS)):
        write_file(f"{base}/review/{_scientist(number)}/syft.pub.yaml", b"rules: []\n", at=at)
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, (at, at))


@contextlib.contextmanager
def tree(count: int) -> Iterator[Path]:
    """A SyftBox root with `count` ended jobs; kept in `BENCH_TREES` for the next benchmarks if that is set."""
    trees_folder = os.environ.get(TREES_VARIABLE)
    if trees_folder:
        root = Path(trees_folder) / str(count)
        if not root.exists():
            unfinished = root.with_suffix(".unfinished")
            write_tree(unfinished, count)
            unfinished.rename(root)
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="bench-tree-") as folder:
        write_tree(Path(folder), count)
        yield Path(folder)


# -- homes and workers -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def make_box(
    root: Path, *, interval: int = 30, watch: str = "auto", hook: str = "", serves: bool = False
) -> Iterator[Box]:
    """A home for the tree at `root`; notifications go to the webhook `hook`, or into a Maildir.

    With `serves` the worker serves the API on any free port.
    """
    with tempfile.TemporaryDirectory(prefix="bench-home-") as folder:
        box = Box(Path(folder))
        missing = str(box.folder / "nowhere")
        changes: dict[str, Any] = {
            "syftbox_root": str(root),
            "notify": {
                "interval": interval,
                "watch": watch,
                "max_concurrent_deliveries": 16,
                "sync_state_path": missing,
                "notify_state_path": missing,
            },
        }
        if hook:
            changes["transports"] = {"hook": {"type": "webhook", "url": hook}}
            changes["routes"] = [{"events": ["job_completed"], "to": ["hook"]}]
        if serves:
            changes["serve"] = {"enabled": True, "port": 0}
        box.configure(changes)
        yield box


@contextlib.contextmanager
def worker(home: Home) -> Iterator[int]:
    """The pid of a real worker that has finished its first scan."""
    started = process.start(home)
    try:
        yield started.pid
    finally:
        process.stop(home)


def next_scan_seconds(home: Home, moment: float) -> float:
    """The seconds of the worker's first scan after `moment`, as the worker reports it."""

    def seconds_of_scan() -> Any:
        found = worker_status.read(home)
        return found.last_scan["seconds"] if (found.last_scan_s or 0.0) > moment else None

    return float(wait_until(seconds_of_scan, SCAN_TIMEOUT, "a scan"))


def read_proc(pid: int, name: str) -> str | None:
    """The content of a file of a process in /proc; None if there is no /proc."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
