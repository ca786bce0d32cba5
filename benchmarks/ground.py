"""What the benches stand on: trees of jobs, a home with its worker, the clock, and the line that each figure is."""

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

from syftnotify import process, running
from syftnotify.paths import Home
from tests.support import OWNER, Box, wait_until

SCIENTISTS = 50
# Names a folder in which the trees of one run of all benches are kept: 100,000 jobs take half a minute to write.
TREES_VARIABLE = "BENCH_TREES"
AGE = 3600.0  # seconds: what is older than two is not read again at the next look
START_SECONDS = 900.0  # until a first scan of many jobs is given up

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
    """One thing that was measured; `value` is None when it could not be, and `note` says why."""

    name: str
    value: float | None
    unit: str
    baseline: float | None = None  # in the same unit
    target: str | None = None
    is_met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the baseline the value is."""
        return None if self.value is None or not self.baseline else self.value / self.baseline

    def line(self) -> str:
        """The figure as one line of JSON."""
        said: dict[str, Any] = {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": _rounded(self.baseline),
            "ratio": _rounded(self.ratio),
            "target": self.target,
            "pass": self.is_met,
        }
        return json.dumps({**said, "note": self.note} if self.note else said)


def figure_of(line: str) -> Figure:
    """What `Figure.line` wrote."""
    said = json.loads(line)
    return Figure(
        said["name"], said["value"], said["unit"], said["baseline"], said["target"], said["pass"], said.get("note", "")
    )


def at_most(factor: float, name: str, value: float, unit: str, baseline: float, *, note: str = "") -> Figure:
    """A figure that may be `factor` times its baseline."""
    return Figure(name, value, unit, baseline, f"at most {factor:g} x", value <= factor * baseline, note)


def below(limit: float, name: str, value: float, unit: str, *, note: str = "") -> Figure:
    """A figure with a limit of its own."""
    return Figure(name, value, unit, None, f"at most {limit:,g} {unit}", value <= limit, note)


def report(figures: Iterable[Figure]) -> int:
    """Print each figure as it comes; returns the exit code, 1 when one missed its target."""
    code = 0
    for figure in figures:
        print(figure.line(), flush=True)
        if figure.is_met is False:
            code = 1
    return code


def _rounded(value: float | None) -> float | None:
    """To four digits: more of them would be noise."""
    return None if value is None else float(f"{value:.4g}")


# -- time ------------------------------------------------------------------------------------------------------------


def seconds(action: Callable[[], object]) -> float:
    """How long it takes once."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def medians(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """The median seconds of each action, in rounds of all of them: what disturbs the machine disturbs all alike."""
    taken = [[seconds(action) for action in actions] for _ in range(rounds)]
    return [statistics.median(each) for each in zip(*taken, strict=True)]


# -- trees -----------------------------------------------------------------------------------------------------------


def write(path: Path | str, content: bytes, *, at: float | None = None) -> None:
    """Write a file in place; `at` is its time, in seconds since 1970, if it is not now."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, content)
    if at is not None:
        os.utime(descriptor, (at, at))
    os.close(descriptor)


def write_job(folder: Path | str, config: bytes, *, code: bool = False, at: float | None = None) -> None:
    """One submission."""
    os.makedirs(f"{folder}/code" if code else folder)
    if code:
        write(f"{folder}/code/main.py", b"print(1)\n", at=at)
    write(f"{folder}/run.sh", b"#!/bin/bash\npython code/main.py\n", at=at)
    write(f"{folder}/config.yaml", config, at=at)


def jobs_of(root: Path) -> Path:
    """The owner's job folder."""
    return root / OWNER / "app_data" / "job"


def state_path(root: Path, number: int) -> str:
    """Where the state of a job lies in a tree that `make_tree` made."""
    return f"{jobs_of(root)}/review/{_scientist(number)}/v1/{name_of(number)}/state.yaml"


def state(number: int, *, minute: int = 7) -> bytes:
    """The state of a job that ended well, in that minute of the hour: another minute is another run."""
    return _STATE.format(owner=OWNER, number=number, minute=minute).encode()


def name_of(number: int) -> str:
    return f"job-{number}"


def _scientist(number: int) -> str:
    return f"ds{number % SCIENTISTS}@lab.example"


def make_tree(root: Path, count: int) -> None:
    """`count` jobs of fifty scientists in layout D, all ended, written an hour ago."""
    base = jobs_of(root)
    at = time.time() - AGE
    for number in range(count):
        below_scientist = f"{_scientist(number)}/v1/{name_of(number)}"
        submission, results = f"{base}/inbox/{below_scientist}", f"{base}/review/{below_scientist}"
        config = _CONFIG.format(name=name_of(number), number=number).encode()
        write_job(submission, config, code=True, at=at)
        os.makedirs(results)
        for name, content in (("stdout.txt", b"1\n"), ("returncode.txt", b"0")):
            write(f"{results}/{name}", content, at=at)
        write(f"{results}/state.yaml", state(number), at=at)
    for number in range(min(count, SCIENTISTS)):
        write(f"{base}/review/{_scientist(number)}/syft.pub.yaml", b"rules: []\n", at=at)
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, (at, at))


@contextlib.contextmanager
def tree(count: int) -> Iterator[Path]:
    """A SyftBox root with `count` ended jobs; kept where `BENCH_TREES` says, for the benches that follow."""
    shelf = os.environ.get(TREES_VARIABLE)
    if shelf:
        root = Path(shelf) / str(count)
        if not root.exists():
            unfinished = root.with_suffix(".unfinished")
            make_tree(unfinished, count)
            unfinished.rename(root)
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="bench-tree-") as folder:
        make_tree(Path(folder), count)
        yield Path(folder)


# -- homes and workers -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def box_of(root: Path, *, interval: int = 30, watch: str = "auto", hook: str = "") -> Iterator[Box]:
    """A home for the tree at `root`; what is owed goes to the webhook `hook`, or into a Maildir."""
    with tempfile.TemporaryDirectory(prefix="bench-home-") as folder:
        box = Box(Path(folder))
        nowhere = str(box.folder / "nowhere")
        changes: dict[str, Any] = {
            "syftbox_root": str(root),
            "notify": {
                "interval": interval,
                "watch": watch,
                "max_concurrent_deliveries": 16,
                "sync_state_path": nowhere,
                "notify_state_path": nowhere,
            },
        }
        if hook:
            changes["transports"] = {"hook": {"type": "webhook", "url": hook}}
            changes["routes"] = [{"events": ["job_completed"], "to": ["hook"]}]
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


def look_after(home: Home, moment: float) -> float:
    """The seconds that the worker's first scan after `moment` took, by its own report."""

    def looked() -> Any:
        found = running.read(home)
        return found.last_scan["seconds"] if (found.last_scan_s or 0.0) > moment else None

    return float(wait_until(looked, START_SECONDS, "a look"))


def proc(pid: int, name: str) -> str | None:
    """What Linux says of a process in /proc; None where there is no such thing."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
