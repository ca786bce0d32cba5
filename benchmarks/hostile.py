"""Duration of the slowest scan of trees designed to make scans slow.

    python -m benchmarks.hostile [part of a name ...]        (default: every case, some minutes)

Each case is one hostile tree, written beside one honest job, and scanned by one process with an injected clock: at
once, while its files are fresh, while the scanner still waits for missing files, and until everything is stable. A scan
is one whole tick (read, detect, record), without deliveries.

One line of JSON per case: `value` is the slowest scan, `repeated` the slowest one after the files were stable but the
job was not (a cost that every scan has again), `quiet` the last one; `scans` are all of them, at `MOMENTS` and then one
per second until the scanner requests no more. `cpu` is the maximum CPU time of this process, which other programs
disturb less, `honest` the number of the scan that detected the honest job, `detected` the total number of other jobs
that were detected.

A case passes if no scan takes longer than `MAX_SCAN_SECONDS`, the last one takes no longer than
`MAX_LAST_SCAN_SECONDS`, the honest job is detected (by the first scan if its path names its submitter), and the outbox
stays below `MAX_OUTBOX_MB`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import job_folder, write_file, write_job
from syftnotify.runtime.container import build_app
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from tests.support import ANA as PEER
from tests.support import BO, OWNER

MAX_FILE_BYTES = 256 * 1024  # of one file that the scanner reads
YAML_NODES = 19_900  # nearly the maximum number that is read
MAX_SCAN_SECONDS = 6.0  # five for reading, the rest for processing
MAX_LAST_SCAN_SECONDS = 1.0
MAX_OUTBOX_MB = 100.0
HONEST_JOB = "z-honest"  # the last one in the order of names

# Seconds after the tree was written. Files are fresh for 2 s, an incomplete submission is accepted after 60 s.
MOMENTS = (0.0, 1.0, 3.0, 4.0, 30.0, 62.0, 66.0, 70.0, 80.0)
STABLE_FROM = 3  # index of the first moment at which fresh files have been read again
COMPLETE_FROM = 7  # index of the first moment at which no file is missing
MAX_SCANS = 30


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile tree: `make(root, count)` writes it for `count` jobs."""

    name: str
    make: Callable[[Path, int], None]
    count: int = 1

    @property
    def has_submitter_in_path(self) -> bool:
        """Whether paths name the submitter; otherwise the scanner cannot be fair between submitters."""
        return not self.name.startswith("A")


class Clock:
    """The clock of the scans; it continues from the time that was set."""

    def __init__(self, now: float) -> None:
        self.set(now)

    def set(self, now: float) -> None:
        self._offset = now - time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() + self._offset


def inbox_d(root: Path, peer: str = PEER) -> Path:
    """The folder of a peer's jobs in layout D."""
    return job_folder(root) / "inbox" / peer / "v1"


def review_d(root: Path) -> Path:
    return job_folder(root) / "review" / PEER / "v1"


def inbox_a(root: Path) -> Path:
    """The folder of waiting jobs in layout A."""
    return root / "datasites" / OWNER / "app_data" / "job" / "inbox"


def jobs_b4(root: Path) -> Path:
    """The folder of a peer's jobs in layout B4."""
    return job_folder(root) / PEER


def config(number: int, rest: str = "files: [main.py]\n") -> bytes:
    """An ordinary config.yaml."""
    return (
        f"name: job-{number}\nsubmitted_at: '2026-11-21T21:49:25.{number:06}Z'\nsubmitted_by: {PEER}\n{rest}".encode()
    )


def padded(head: str, unit: str, tail: str = "", *, units: int = MAX_FILE_BYTES) -> bytes:
    """`head`, then as many `unit`s as fit into the maximum size of a file, then `tail`."""
    remaining = MAX_FILE_BYTES - len(head.encode()) - len(tail.encode())
    return (head + unit * min(units, remaining // len(unit.encode())) + tail).encode()


def deep_missing_files(number: int) -> bytes:
    """A list of missing files, of which the first thousand count, with names of maximum depth."""
    head = config(number, "").decode()
    deep = "/".join(["d" * 8] * 15)
    return padded(head + "files:\n", f"- {deep}/x\n")


def many_missing_files(number: int) -> bytes:
    """A list of as many files as the limit of nodes allows."""
    return padded(config(number, "").decode() + "files: [", "a,", "]\n", units=YAML_NODES)


def sexagesimal(number: int) -> bytes:
    """YAML 1.1 reads `1:1:1` as a number to the base of 60; its cost grows with the square of its length."""
    return padded(config(number).decode() + "x: 1", ":1", "\n")


def colliding_keys(number: int) -> bytes:
    """Numbers with one hash: each key is compared with every other one."""
    lines = [config(number).decode()]
    remaining = MAX_FILE_BYTES - len(lines[0])
    for factor in range(1, MAX_FILE_BYTES):
        line = f"{(2**61 - 1) * factor:#x}:\n"
        remaining -= len(line)
        if remaining < 0:
            break
        lines.append(line)
    return "".join(lines).encode()


def tag_directives(number: int) -> bytes:
    """Each directive is compared with every other one."""
    body = "---\n" + config(number).decode()
    lines: list[str] = []
    remaining = MAX_FILE_BYTES - len(body)
    for n in range(MAX_FILE_BYTES):
        line = f"%TAG !{n:x}! b\n"
        remaining -= len(line)
        if remaining < 0:
            break
        lines.append(line)
    return ("".join(lines) + body).encode()


def invalid_at_the_end(number: int) -> bytes:
    """Nearly the maximum number of nodes, and invalid at the very end."""
    return padded(config(number, "").decode() + "files: [", "a,", "}\n", units=YAML_NODES)


def jobs_in_d(make: Callable[[int], bytes], *, code: bool = False) -> Callable[[Path, int], None]:
    def write_all(root: Path, count: int) -> None:
        for number in range(count):
            write_job(inbox_d(root) / f"job-{number}", make(number), code=code)

    return write_all


def jobs_in_a(root: Path, count: int) -> None:
    for number in range(count):
        write_job(inbox_a(root) / f"job-{number}", config(number, "entry_point: main.py\n"))


def incomplete_in_a(root: Path, count: int) -> None:
    """Jobs without run.sh, with the most expensive config.yaml."""
    for number in range(count):
        folder = inbox_a(root) / f"job-{number}"
        write_job(folder, sexagesimal(number))
        (folder / "run.sh").unlink()


def job_with_extra_files(parent: Callable[[Path], Path], below: str = "") -> Callable[[Path, int], None]:
    """One job among fifty thousand files."""

    def write_all(root: Path, _count: int) -> None:
        folder = parent(root) / "job-0"
        write_job(folder, config(0, "files: []\n"))
        os.makedirs(folder / below, exist_ok=True)
        for number in range(50_000):
            os.close(os.open(folder / below / f"file-{number}", os.O_WRONLY | os.O_CREAT, 0o600))

    return write_all


def empty_folders(parent: Callable[[Path], Path], name: str) -> Callable[[Path, int], None]:
    """Job folders without a job in them."""

    def write_all(root: Path, count: int) -> None:
        os.makedirs(parent(root))
        for number in range(count):
            os.mkdir(parent(root) / f"{name}{number}")

    return write_all


def unreadable_states(content: Callable[[int], bytes]) -> Callable[[Path, int], None]:
    def write_all(root: Path, count: int) -> None:
        for number in range(count):
            write_job(inbox_d(root) / f"job-{number}", config(number, "files: []\n"))
            os.makedirs(review_d(root) / f"job-{number}")
            write_file(review_d(root) / f"job-{number}" / "state.yaml", content(number))

    return write_all


def long_submitters(root: Path, count: int) -> None:
    """Jobs with a submitter whose name fills the config.yaml."""
    for number in range(count):
        write_job(
            inbox_a(root) / f"job-{number}", padded("name: x\nsubmitted_by: ", "y", f"\nsubmitted_at: {number}\n")
        )


def jobs_with_code(text: str, files: int) -> Callable[[Path, int], None]:
    """Jobs with the maximum of code that is read; the files are one file with many names."""

    def write_all(root: Path, count: int) -> None:
        names = [f"file-{number}.py" for number in range(files)]
        root.joinpath("code").write_text(text)
        for number in range(count):
            folder = inbox_d(root) / f"job-{number}"
            write_job(folder, config(number, f"files: [{', '.join(names)}]\n"), code=True)
            for name in names:
                os.link(root / "code", folder / "code" / name)

    return write_all


CASES = (
    Case("D: 1 job, 256 KiB of missing files", jobs_in_d(deep_missing_files)),
    Case("D: 1 job, the maximum number of missing files", jobs_in_d(many_missing_files)),
    Case("D: 200 jobs, each 256 KiB of missing files", jobs_in_d(deep_missing_files), 200),
    Case("D: 200 jobs, each the maximum number of missing files", jobs_in_d(many_missing_files), 200),
    Case("A: 50000 files in the job folder", job_with_extra_files(inbox_a)),
    Case("B4: 50000 files in the job folder", job_with_extra_files(jobs_b4)),
    Case("D: 50000 files in the job folder", job_with_extra_files(inbox_d)),
    Case("D: 50000 files in code/", job_with_extra_files(inbox_d, "code")),
    Case("D: 50000 empty folders", empty_folders(inbox_d, "job-"), 50_000),
    Case("D: 50000 empty segments", empty_folders(lambda root: inbox_d(root).parent, "v1"), 50_000),
    Case("A: 50000 empty folders", empty_folders(inbox_a, "job-"), 50_000),
    Case("D: 5000 new jobs", jobs_in_d(config, code=True), 5000),
    Case("A: 5000 new jobs", jobs_in_a, 5000),
    Case("D: 1000 jobs, a sexagesimal number of 256 KiB", jobs_in_d(sexagesimal, code=True), 1000),
    Case("D: 1000 jobs, keys with one hash", jobs_in_d(colliding_keys, code=True), 1000),
    Case("D: 1000 jobs, tag directives", jobs_in_d(tag_directives, code=True), 1000),
    Case("D: 1000 incomplete jobs, a sexagesimal number of 256 KiB", jobs_in_d(sexagesimal), 1000),
    Case("A: 1000 incomplete jobs, a sexagesimal number of 256 KiB", incomplete_in_a, 1000),
    Case("A: 1000 jobs, submitted by a name of 256 KiB", long_submitters, 1000),
    Case("D: 200 jobs, code of control characters", jobs_with_code("\x1b" * 51_200, 10), 200),
    Case("D: 200 jobs, code of emoji", jobs_with_code("\U0001f600" * 12_800, 10), 200),
    Case("D: 1000 unreadable state files, empty", unreadable_states(lambda _number: b""), 1000),
    Case(
        "D: 1000 unreadable state files, invalid at the end of the maximum of nodes",
        unreadable_states(invalid_at_the_end),
        1000,
    ),
)


@dataclass(slots=True)
class Measurement:
    """Elapsed and CPU seconds of each scan, and the results."""

    scans: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    honest: int | None = None  # the number of the scan that detected the honest job
    detected: int = 0
    outbox_mb: float = 0.0


def run_case(case: Case) -> Measurement:
    measurement = Measurement()
    with tempfile.TemporaryDirectory() as folder:
        root, home = Path(folder) / "SyftBox", Home(Path(folder) / "home")
        root.mkdir()
        home.create()
        missing = json.dumps(str(home.root / "nowhere"))
        write_file(
            home.config,
            f"do_email: {OWNER}\nsyftbox_root: {json.dumps(str(root))}\n"
            f"notify: {{sync_state_path: {missing}, notify_state_path: {missing}}}\n"
            "transports: {box: {type: maildir}}\n".encode(),
        )
        clock = Clock(time.time())
        app = build_app(load(home), clock=clock, monotonic=clock)
        try:
            for _ in range(3):  # the first one also fills caches
                app.pipeline.tick(clock(), last_scan=clock())
            case.make(root, case.count)
            honest = inbox_d(root, BO) if case.has_submitter_in_path else inbox_a(root)
            write_job(honest / HONEST_JOB, config(0, "files: []\n"))
            written, was_rescan_requested = time.time(), True
            for moment in (*MOMENTS, *range(int(MOMENTS[-1]) + 1, 10**6)):
                clock.set(max(written + moment, clock()))
                now = clock()
                started, cpu_started = time.perf_counter(), time.process_time()
                tick = app.pipeline.tick(now, last_scan=now)
                measurement.scans.append(time.perf_counter() - started)
                measurement.cpu.append(time.process_time() - cpu_started)
                names = [event.payload.get("name") for event in tick.events]
                if HONEST_JOB in names:
                    measurement.honest = len(measurement.scans)
                measurement.detected += len(names) - names.count(HONEST_JOB)
                is_last, was_rescan_requested = not was_rescan_requested and not tick.rescan_soon, tick.rescan_soon
                if (is_last and len(measurement.scans) >= len(MOMENTS)) or len(measurement.scans) >= MAX_SCANS:
                    break
        finally:
            app.close()
        measurement.outbox_mb = home.outbox.stat().st_size / 1e6
    return measurement


def measure(case: Case) -> dict[str, object]:
    """The figures of one case."""
    measurement = run_case(case)
    worst, last = max(measurement.scans), measurement.scans[-1]
    return {
        "name": case.name,
        "value": round(worst, 3),
        "unit": "s",
        "cpu": round(max(measurement.cpu), 3),
        "repeated": round(max(measurement.scans[STABLE_FROM:COMPLETE_FROM]), 3),
        "quiet": round(last, 4),
        "honest": measurement.honest,
        "detected": measurement.detected,
        "outbox_mb": round(measurement.outbox_mb, 1),
        "scans": [round(seconds, 3) for seconds in measurement.scans],
        "pass": worst <= MAX_SCAN_SECONDS
        and last <= MAX_LAST_SCAN_SECONDS
        and measurement.honest is not None
        and (measurement.honest == 1 or not case.has_submitter_in_path)
        and measurement.outbox_mb <= MAX_OUTBOX_MB,
    }


if __name__ == "__main__":
    for each in CASES:
        if not sys.argv[1:] or any(part in each.name for part in sys.argv[1:]):
            print(json.dumps(measure(each)), flush=True)
