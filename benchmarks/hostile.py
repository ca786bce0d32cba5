"""How long does the worst look take when a tree is built to make looks long?

    python -m benchmarks.hostile [part of a name ...]        (default: every case, some minutes)

Each case is one hostile tree, written now beside one honest job, and looked at by one process through a clock that is
handed in: at once, while its files are fresh, while the reader still waits for what is missing, and until everything
has settled. A look is one whole tick (read, decide, write down), without the sending.

One line of JSON a case: `value` is the worst look, `repeated` the worst one after the files had settled but not the
job (a cost that comes back at every look), `quiet` the last one, `looks` are all of them, at `MOMENTS` and then a
second after one another until the reader is no more restless. `cpu` is what the worst one took of this process alone,
which other programs disturb less, `honest` the number of the look that noticed the honest job, `noticed` how many of
the others were noticed in the end. A case passes when no look takes longer than `BOUND_SECONDS`, the last one no longer
than `QUIET_SECONDS`, the honest job is noticed, by the first one where its path says whose it is, and the outbox stays
below `OUTBOX_MB`.
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

from benchmarks.ground import jobs_of, write, write_job
from syftnotify.runtime.container import build_app
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from tests.support import ANA as PEER
from tests.support import BO, OWNER

CAP = 256 * 1024  # bytes: what the reader takes of one file at the most
NODES = 19_900  # of YAML: nearly as many as are read
BOUND_SECONDS = 6.0  # five of reading, and what must be done about what was read
QUIET_SECONDS = 1.0
OUTBOX_MB = 100.0
HONEST = "z-honest"  # behind everybody else where names decide

# Seconds after the tree was written. Files are fresh for 2 s, an incomplete submission is waited for for 60 s.
MOMENTS = (0.0, 1.0, 3.0, 4.0, 30.0, 62.0, 66.0, 70.0, 80.0)
SETTLED_FROM = 3  # index of the first moment at which what was fresh has been read again
QUIET_FROM = 7  # index of the first moment at which nothing is waited for
MOST_LOOKS = 30


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile tree: `make(root, count)` writes it for `count` jobs."""

    name: str
    make: Callable[[Path, int], None]
    count: int = 1

    @property
    def names_submitters(self) -> bool:
        """Whether the path says whose a job is: without that nobody can be let go first."""
        return not self.name.startswith("A")


class Clock:
    """The time of day that the looks are told; it goes on from where it was set."""

    def __init__(self, now: float) -> None:
        self.set(now)

    def set(self, now: float) -> None:
        self._ahead = now - time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() + self._ahead


def inbox(root: Path, peer: str = PEER) -> Path:
    """Where a peer's jobs of layout D lie."""
    return jobs_of(root) / "inbox" / peer / "v1"


def review(root: Path) -> Path:
    return jobs_of(root) / "review" / PEER / "v1"


def stages(root: Path) -> Path:
    """Where layout A waits for its owner."""
    return root / "datasites" / OWNER / "app_data" / "job" / "inbox"


def beside(root: Path) -> Path:
    """Where a peer's jobs of layout B4 lie."""
    return jobs_of(root) / PEER


def config(number: int, rest: str = "files: [main.py]\n") -> bytes:
    """An ordinary config.yaml."""
    return (
        f"name: job-{number}\nsubmitted_at: '2026-11-21T21:49:25.{number:06}Z'\nsubmitted_by: {PEER}\n{rest}".encode()
    )


def padded(head: str, unit: str, tail: str = "", *, units: int = CAP) -> bytes:
    """`head`, then as many `unit`s as fit into what is read of a file, then `tail`."""
    room = CAP - len(head.encode()) - len(tail.encode())
    return (head + unit * min(units, room // len(unit.encode())) + tail).encode()


def missing_files(number: int) -> bytes:
    """A list of files of which the first thousand count: names as deep as they may be, none of them there."""
    head = config(number, "").decode()
    deep = "/".join(["d" * 8] * 15)
    return padded(head + "files:\n", f"- {deep}/x\n")


def many_files(number: int) -> bytes:
    """A list of as many files as the cap on nodes lets through."""
    return padded(config(number, "").decode() + "files: [", "a,", "]\n", units=NODES)


def sexagesimal(number: int) -> bytes:
    """YAML 1.1 reads `1:1:1` as a number to the base of 60; its cost grows with the square of its length."""
    return padded(config(number).decode() + "x: 1", ":1", "\n")


def colliding_keys(number: int) -> bytes:
    """Numbers with one hash: each key is compared with every other one."""
    lines = [config(number).decode()]
    room = CAP - len(lines[0])
    for factor in range(1, CAP):
        line = f"{(2**61 - 1) * factor:#x}:\n"
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    return "".join(lines).encode()


def tag_directives(number: int) -> bytes:
    """Each directive is compared with every other one."""
    body = "---\n" + config(number).decode()
    lines: list[str] = []
    room = CAP - len(body)
    for n in range(CAP):
        line = f"%TAG !{n:x}! b\n"
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    return ("".join(lines) + body).encode()


def torn_late(number: int) -> bytes:
    """Nearly all the nodes that are allowed, and wrong at the very end."""
    return padded(config(number, "").decode() + "files: [", "a,", "}\n", units=NODES)


def jobs_in_d(make: Callable[[int], bytes], *, code: bool = False) -> Callable[[Path, int], None]:
    def write_all(root: Path, count: int) -> None:
        for number in range(count):
            write_job(inbox(root) / f"job-{number}", make(number), code=code)

    return write_all


def jobs_in_a(root: Path, count: int) -> None:
    for number in range(count):
        write_job(stages(root) / f"job-{number}", config(number, "entry_point: main.py\n"))


def unfinished_in_a(root: Path, count: int) -> None:
    """Without run.sh, and as costly as may be."""
    for number in range(count):
        folder = stages(root) / f"job-{number}"
        write_job(folder, sexagesimal(number))
        (folder / "run.sh").unlink()


def crowded(place: Callable[[Path], Path], below: str = "") -> Callable[[Path, int], None]:
    """One job among fifty thousand files."""

    def write_all(root: Path, _count: int) -> None:
        folder = place(root) / "job-0"
        write_job(folder, config(0, "files: []\n"))
        os.makedirs(folder / below, exist_ok=True)
        for number in range(50_000):
            os.close(os.open(folder / below / f"file-{number}", os.O_WRONLY | os.O_CREAT, 0o600))

    return write_all


def empty_folders(place: Callable[[Path], Path], name: str) -> Callable[[Path, int], None]:
    """Folders where jobs lie, without a job in them."""

    def write_all(root: Path, count: int) -> None:
        os.makedirs(place(root))
        for number in range(count):
            os.mkdir(place(root) / f"{name}{number}")

    return write_all


def torn_states(content: Callable[[int], bytes]) -> Callable[[Path, int], None]:
    def write_all(root: Path, count: int) -> None:
        for number in range(count):
            write_job(inbox(root) / f"job-{number}", config(number, "files: []\n"))
            os.makedirs(review(root) / f"job-{number}")
            write(review(root) / f"job-{number}" / "state.yaml", content(number))

    return write_all


def long_claims(root: Path, count: int) -> None:
    """Each is submitted by a name that fills its config.yaml."""
    for number in range(count):
        write_job(stages(root) / f"job-{number}", padded("name: x\nsubmitted_by: ", "y", f"\nsubmitted_at: {number}\n"))


def coded(text: str, files: int) -> Callable[[Path, int], None]:
    """Jobs with as much code as is read of one: the files are one file with many names."""

    def write_all(root: Path, count: int) -> None:
        names = [f"file-{number}.py" for number in range(files)]
        root.joinpath("code").write_text(text)
        for number in range(count):
            folder = inbox(root) / f"job-{number}"
            write_job(folder, config(number, f"files: [{', '.join(names)}]\n"), code=True)
            for name in names:
                os.link(root / "code", folder / "code" / name)

    return write_all


CASES = (
    Case("D: 1 job, 256 KiB of files that are not there", jobs_in_d(missing_files)),
    Case("D: 1 job, as many files as are read that are not there", jobs_in_d(many_files)),
    Case("D: 200 jobs, each 256 KiB of files that are not there", jobs_in_d(missing_files), 200),
    Case("D: 200 jobs, each as many files as are read that are not there", jobs_in_d(many_files), 200),
    Case("A: 50000 files in the job folder", crowded(stages)),
    Case("B4: 50000 files in the job folder", crowded(beside)),
    Case("D: 50000 files in the job folder", crowded(inbox)),
    Case("D: 50000 files in code/", crowded(inbox, "code")),
    Case("D: 50000 empty folders", empty_folders(inbox, "job-"), 50_000),
    Case("D: 50000 empty segments", empty_folders(lambda root: inbox(root).parent, "v1"), 50_000),
    Case("A: 50000 empty folders", empty_folders(stages, "job-"), 50_000),
    Case("D: 5000 new jobs", jobs_in_d(config, code=True), 5000),
    Case("A: 5000 new jobs", jobs_in_a, 5000),
    Case("D: 1000 jobs, a sexagesimal number of 256 KiB", jobs_in_d(sexagesimal, code=True), 1000),
    Case("D: 1000 jobs, keys with one hash", jobs_in_d(colliding_keys, code=True), 1000),
    Case("D: 1000 jobs, tag directives", jobs_in_d(tag_directives, code=True), 1000),
    Case("D: 1000 unfinished jobs, a sexagesimal number of 256 KiB", jobs_in_d(sexagesimal), 1000),
    Case("A: 1000 unfinished jobs, a sexagesimal number of 256 KiB", unfinished_in_a, 1000),
    Case("A: 1000 jobs, submitted by a name of 256 KiB", long_claims, 1000),
    Case("D: 200 jobs, code of control characters", coded("\x1b" * 51_200, 10), 200),
    Case("D: 200 jobs, code of emoji", coded("\U0001f600" * 12_800, 10), 200),
    Case("D: 1000 torn state files, empty", torn_states(lambda _number: b""), 1000),
    Case("D: 1000 torn state files, wrong at the end of as many nodes as are read", torn_states(torn_late), 1000),
)


@dataclass(slots=True)
class Measured:
    """What the looks took, by the clock and of this process alone, in seconds, and what came of them."""

    looks: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    honest: int | None = None  # the number of the look that noticed the honest job
    noticed: int = 0
    outbox_mb: float = 0.0


def look_at(case: Case) -> Measured:
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        root, home = Path(folder) / "SyftBox", Home(Path(folder) / "home")
        root.mkdir()
        home.create()
        nowhere = json.dumps(str(home.root / "nowhere"))
        write(
            home.config,
            f"do_email: {OWNER}\nsyftbox_root: {json.dumps(str(root))}\n"
            f"notify: {{sync_state_path: {nowhere}, notify_state_path: {nowhere}}}\n"
            "transports: {box: {type: maildir}}\n".encode(),
        )
        clock = Clock(time.time())
        parts = build_app(load(home), clock=clock, monotonic=clock)
        try:
            for _ in range(3):  # the first one also warms everything up
                parts.pipeline.tick(clock(), last_scan=clock())
            case.make(root, case.count)
            honest = inbox(root, BO) if case.names_submitters else stages(root)
            write_job(honest / HONEST, config(0, "files: []\n"))
            written, was_restless = time.time(), True
            for moment in (*MOMENTS, *range(int(MOMENTS[-1]) + 1, 10**6)):
                clock.set(max(written + moment, clock()))
                now = clock()
                begun, begun_cpu = time.perf_counter(), time.process_time()
                tick = parts.pipeline.tick(now, last_scan=now)
                measured.looks.append(time.perf_counter() - begun)
                measured.cpu.append(time.process_time() - begun_cpu)
                names = [event.payload.get("name") for event in tick.events]
                if HONEST in names:
                    measured.honest = len(measured.looks)
                measured.noticed += len(names) - names.count(HONEST)
                is_last, was_restless = not was_restless and not tick.rescan_soon, tick.rescan_soon
                if (is_last and len(measured.looks) >= len(MOMENTS)) or len(measured.looks) >= MOST_LOOKS:
                    break
        finally:
            parts.close()
        measured.outbox_mb = home.outbox.stat().st_size / 1e6
    return measured


def measure(case: Case) -> dict[str, object]:
    """The figures of one case."""
    measured = look_at(case)
    worst, last = max(measured.looks), measured.looks[-1]
    return {
        "name": case.name,
        "value": round(worst, 3),
        "unit": "s",
        "cpu": round(max(measured.cpu), 3),
        "repeated": round(max(measured.looks[SETTLED_FROM:QUIET_FROM]), 3),
        "quiet": round(last, 4),
        "honest": measured.honest,
        "noticed": measured.noticed,
        "outbox_mb": round(measured.outbox_mb, 1),
        "looks": [round(seconds, 3) for seconds in measured.looks],
        "pass": worst <= BOUND_SECONDS
        and last <= QUIET_SECONDS
        and measured.honest is not None
        and (measured.honest == 1 or not case.names_submitters)
        and measured.outbox_mb <= OUTBOX_MB,
    }


if __name__ == "__main__":
    for each in CASES:
        if not sys.argv[1:] or any(word in each.name for word in sys.argv[1:]):
            print(json.dumps(measure(each)), flush=True)
