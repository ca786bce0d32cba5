"""Runs a campaign: starts, kills and restarts a program while its tree is written and its server fails."""

from __future__ import annotations

import json
import os
import random
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from tests.chaos.material import owed_by, round_of
from tests.chaos.subjects import Subject, create_subject, points_of
from tests.chaos.verdict import Verdict, judge
from tests.support import PROJECT_ROOT

# Seconds; only reached if a process hangs.
_START_TIMEOUT = 120.0
_POINT_TIMEOUT = 60.0
_IDLE_TIMEOUT = 180.0
_STOP_TIMEOUT = 60.0

_STEPS_PER_KILL = 3
# A round has 13 mails to the owner. The throttle allows 200 in ten minutes and makes a digest of the rest, which is
# not tested here.
_MAX_ROUNDS = 12
_STEPS_PER_ROUND = len(round_of(0).steps)
_EXTRA_STEP_INTERVAL = 1.0  # seconds; an idle worker gets another step until it reaches its fail-point
_INITIAL_START_KILLS = 2  # the first kills of a campaign, in an empty home
_START_KILL_PROBABILITY = 0.35  # of the external kills
_MAX_UPTIME = 1.0  # seconds between the start and an external kill
# The maximum number of times that a point is reached until the kill; the lock is taken once per process.
_MAX_HITS_BY_POINT = {"worker.locked": 1}
_MAX_HITS = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: by the process itself at a fail-point, or external, during its start or later.

    `moment` is a fraction, 0 to 1, of the median start time or of the maximum uptime.
    """

    point: str = ""
    hits: int = 1
    during_start: bool = False
    moment: float = 0.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """The kills of one campaign; each item of `points` is one kill at that fail-point."""

    kind: str
    seed: str
    points: tuple[str, ...]
    external: int

    @property
    def kills(self) -> int:
        return len(self.points) + self.external


@dataclass(slots=True)
class Outcome:
    """The result of a campaign. `recoveries`: seconds from a kill to the end of the first scan of the next process."""

    campaign: Campaign
    verdict: Verdict
    kills_by_point: Counter[str] = field(default_factory=Counter)  # external ones under ""
    recoveries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    kept_folder: str = ""  # the folder of a failed campaign


def plan_campaigns(kind: str, seed: int, kills: int, count: int) -> list[Campaign]:
    """Distribute `kills` over `count` campaigns: half evenly over the fail-points, half at random instants."""
    points = cycle(points_of(kind))
    shares = [kills // count + (number < kills % count) for number in range(count)]
    return [
        Campaign(kind, f"{seed} {kind} {number}", tuple(islice(points, (share + 1) // 2)), share // 2)
        for number, share in enumerate(shares)
    ]


def run_campaign(campaign: Campaign, folder: Path | None = None) -> Outcome:
    """Run a campaign in `folder`, or in a temporary folder, which is kept if the campaign fails."""
    parent = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = run_with_subject(campaign, create_subject(campaign.kind, parent / "box", campaign.seed))
    if folder is None and (outcome.verdict.is_good or campaign.kind == "naive"):
        shutil.rmtree(parent)
    else:
        outcome.kept_folder = str(parent)
    return outcome


def run_with_subject(campaign: Campaign, subject: Subject) -> Outcome:
    started = time.monotonic()
    with subject.sink:
        subject.set_up()
        with _writer(subject.box.root, campaign.seed) as writer:
            outcome = _CampaignRun(campaign, subject, writer).outcome()
    outcome.seconds = time.monotonic() - started
    return outcome


def plan_kills(campaign: Campaign, rng: random.Random) -> list[Kill]:
    at_points = [Kill(point, rng.randint(1, _MAX_HITS_BY_POINT.get(point, _MAX_HITS))) for point in campaign.points]
    external = [
        Kill(
            during_start=number < _INITIAL_START_KILLS or rng.random() < _START_KILL_PROBABILITY,
            moment=rng.random(),
        )
        for number in range(campaign.external)
    ]
    rest = [*at_points, *external[_INITIAL_START_KILLS:]]
    rng.shuffle(rest)
    return [*external[:_INITIAL_START_KILLS], *rest]


# -- processes ---------------------------------------------------------------------------------------------------


class Process:
    """One process of the program under test."""

    def __init__(self, subject: Subject, kill_at: str) -> None:
        read_end, write_end = os.pipe()
        log = (subject.box.folder / "output.log").open("ab")
        self.started_at = time.monotonic()
        try:
            self._process = subprocess.Popen(
                subject.command(report_fd=write_end, kill_at=kill_at),
                stdin=subprocess.PIPE,  # closing it ends the program
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(write_end,),
                cwd=PROJECT_ROOT,
                env=_environment(subject),
            )
        except BaseException:  # the process did not start; the exception is raised again
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
            log.close()
        assert self._process.stdout is not None
        self.scanned_at: float | None = None  # end of the first scan, monotonic clock
        self.ended_at: float | None = None
        self.last_output = ""
        self.start_error = ""  # reported by the program
        self._report_fd = read_end
        self._out = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._report_fd, selectors.EVENT_READ, self._on_report)
        self._selector.register(self._out, selectors.EVENT_READ, self._on_output)

    def wait(self, until: float, *, until_scanned: bool = False) -> None:
        """Wait until `until` (monotonic clock), the end of the process or, with `until_scanned`, of its first scan."""
        while self.ended_at is None and not (until_scanned and self.scanned_at is not None):
            remaining = until - time.monotonic()
            if remaining <= 0:
                return
            for key, _ in self._selector.select(remaining):
                key.data()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal if the process still runs."""
        self._process.send_signal(number)

    def code(self) -> int:
        """The exit code; the process must have ended or be about to end."""
        return self._process.wait(timeout=_STOP_TIMEOUT)

    def close(self) -> None:
        """Kill the process if it still runs, and close its files."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        os.close(self._report_fd)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _on_report(self) -> None:
        line = os.read(self._report_fd, 65536)
        self._selector.unregister(self._report_fd)
        if line:
            report = json.loads(line)
            self.start_error = str(report.get("error", ""))
            self.scanned_at = None if self.start_error else time.monotonic()

    def _on_output(self) -> None:
        output = os.read(self._out, 65536)
        self.last_output += output.decode()
        if not output:
            self._selector.unregister(self._out)
            self.ended_at = time.monotonic()


class Writer:
    """The process that writes the tree."""

    def __init__(self, root: Path, seed: str) -> None:
        self._requested = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.writer", "--root", str(root), "--seed", seed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            text=True,
        )

    def request_steps(self, steps: int) -> bool:
        """Let the process write `steps` more steps; False at the maximum of rounds."""
        if self._requested + steps > _MAX_ROUNDS * _STEPS_PER_ROUND:
            return False
        self._requested += steps
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return True

    def finish(self) -> int:
        """Complete the round; returns the number of rounds written."""
        written, _ = self._process.communicate("end\n")
        return int(written)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def _writer(root: Path, seed: str) -> Iterator[Writer]:
    writer = Writer(root, seed)
    try:
        yield writer
    finally:
        writer.close()


def _environment(subject: Subject) -> dict[str, str]:
    """The environment without coverage: killed processes write no data, and measuring slows each start."""
    return {key: value for key, value in subject.box.environment().items() if not key.startswith("COVERAGE_PROCESS")}


@contextmanager
def _running(subject: Subject, kill_at: str = "") -> Iterator[Process]:
    process = Process(subject, kill_at)
    try:
        yield process
    finally:
        process.close()


# -- the campaign ------------------------------------------------------------------------------------------------


class _CampaignRun:
    """A running campaign."""

    def __init__(self, campaign: Campaign, subject: Subject, writer: Writer) -> None:
        self._campaign = campaign
        self._subject = subject
        self._writer = writer
        self._has_started_writing = False  # jobs of the first scan would be reported in one digest
        self._start_seconds: list[float] = [1.0]  # the first value is an estimate
        self._killed_at: float | None = None
        self._kills: Counter[str] = Counter()
        self._recoveries: list[float] = []
        self._problems: list[str] = []

    def outcome(self) -> Outcome:
        for kill in plan_kills(self._campaign, random.Random(self._campaign.seed)):
            self._run_until_kill(kill)
        return Outcome(self._campaign, self._verdict(), self._kills, self._recoveries)

    def _run_until_kill(self, kill: Kill) -> None:
        """Run one process until it is killed."""
        if self._has_started_writing:
            self._writer.request_steps(_STEPS_PER_KILL)
        with _running(self._subject, f"{kill.point}:{kill.hits}" if kill.point else "") as process:
            if kill.during_start:
                process.wait(process.started_at + kill.moment * statistics.median(self._start_seconds))
                self._record_start(process)
            else:
                process.wait(process.started_at + _START_TIMEOUT, until_scanned=True)
                self._record_start(process)
                self._work(process, kill)
            external = process.ended_at is None
            if external:
                if kill.point:
                    self._problems.append(f"{kill.point} was not reached {kill.hits} times")
                process.kill()
                process.wait(time.monotonic() + _STOP_TIMEOUT)
            self._record_kill(process, external=external)

    def _record_start(self, process: Process) -> None:
        if process.scanned_at is None:
            return
        self._start_seconds.append(process.scanned_at - process.started_at)
        if self._killed_at is not None:
            self._recoveries.append(process.scanned_at - self._killed_at)
        if not self._has_started_writing:
            self._has_started_writing = True
            self._writer.request_steps(_STEPS_PER_KILL)

    def _work(self, process: Process, kill: Kill) -> None:
        if not kill.point:
            process.wait(time.monotonic() + kill.moment * _MAX_UPTIME)
            return
        deadline = time.monotonic() + _POINT_TIMEOUT
        while process.ended_at is None and time.monotonic() < deadline:
            process.wait(time.monotonic() + _EXTRA_STEP_INTERVAL)
            if process.ended_at is None and self._subject.is_quiet():
                self._writer.request_steps(1)

    def _record_kill(self, process: Process, *, external: bool) -> None:
        code, output = process.code(), process.last_output.strip()
        self._killed_at = process.ended_at
        if code == -signal.SIGKILL and (output or external):
            self._kills[output] += 1
        else:
            self._problems.append(f"unexpected exit: exit code {code}, {output} {process.start_error}")

    def _verdict(self) -> Verdict:
        """Run a last process without faults and kills until everything owed has arrived and the worker is idle."""
        subject, sink = self._subject, self._subject.sink
        sink.faults.is_disabled = True
        with _running(subject) as process:
            process.wait(process.started_at + _START_TIMEOUT, until_scanned=True)
            self._record_start(process)
            owed = owed_by(round_of(number) for number in range(self._writer.finish()))
            deadline = time.monotonic() + _IDLE_TIMEOUT
            sink.mailbox.wait_for(owed, _IDLE_TIMEOUT)
            while not subject.is_quiet() and time.monotonic() < deadline:
                time.sleep(0.05)  # interval of polling
            process.kill(signal.SIGTERM)
            process.wait(time.monotonic() + _STOP_TIMEOUT)
            if (code := process.code()) != 0:
                self._problems.append(f"unclean stop: exit code {code}")
        while not sink.is_idle() and time.monotonic() < deadline + _STOP_TIMEOUT:
            time.sleep(0.05)  # likewise; a message may still be in transit
        return judge(owed, sink.mailbox.entries, subject.unknown(), [*self._problems, *subject.problems()])
