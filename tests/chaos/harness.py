"""One campaign: a program is started, killed and started again while its tree is written and its server fails."""

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
from tests.chaos.subjects import Subject, points_of, subject_of
from tests.chaos.verdict import Verdict, judge

PROJECT_ROOT = Path(__file__).parents[2]

# Nothing here decides by the time it takes: these end a run in which something hangs, seconds.
_START_LIMIT = 120.0
_REACH_LIMIT = 60.0
_QUIET_LIMIT = 180.0
_STOP_LIMIT = 60.0

_STEPS_A_KILL = 3
# 13 mails a round to the owner: one who gets 200 in ten minutes gets the rest in a digest, which is not what is tested.
_MOST_ROUNDS = 12
_STEPS_A_ROUND = len(round_of(0).steps)
_MORE_AFTER = 1.0  # seconds; whoever has nothing to do until the moment of its death gets another step to work at
_STARTS_AT_FIRST = 2  # campaigns begin with kills in a home that is still empty
_KILLS_IN_THE_START = 0.35  # of those from outside
_LONGEST_LIFE = 1.0  # seconds of work until a kill from outside
# How often a point is passed before it is the end, at the most; the lock is taken once in a life.
_PASSES = {"worker.locked": 1}
_MOST_PASSES = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """How one life ends: at a point of the program's own, or from outside, during its start or its work.

    `moment` is a part, 0 to 1, of the time that a start takes or of the longest life.
    """

    point: str = ""
    passes: int = 1
    in_the_start: bool = False
    moment: float = 0.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is to be done; `points` are the fail-points to die at, once for each time they are named."""

    kind: str
    seed: str
    points: tuple[str, ...]
    from_outside: int

    @property
    def kills(self) -> int:
        return len(self.points) + self.from_outside


@dataclass(slots=True)
class Outcome:
    """What came of a campaign. `recoveries` are seconds from a death to the end of the next life's first look."""

    campaign: Campaign
    verdict: Verdict
    deaths: Counter[str] = field(default_factory=Counter)  # by point; those from outside under ""
    recoveries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    kept: str = ""  # the folder of a campaign that went wrong


def campaigns(kind: str, seed: int, kills: int, count: int) -> list[Campaign]:
    """`kills` in `count` campaigns: half at fail-points, each as often as the others, half at random instants."""
    points = cycle(points_of(kind))
    shares = [kills // count + (number < kills % count) for number in range(count)]
    return [
        Campaign(kind, f"{seed} {kind} {number}", tuple(islice(points, (share + 1) // 2)), share // 2)
        for number, share in enumerate(shares)
    ]


def run(campaign: Campaign, folder: Path | None = None) -> Outcome:
    """Run it in `folder`, or in one of its own, which is kept when something is wrong that nobody expects."""
    place = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = run_with(campaign, subject_of(campaign.kind, place / "box", campaign.seed))
    if folder is None and (outcome.verdict.is_good or campaign.kind == "naive"):
        shutil.rmtree(place)
    else:
        outcome.kept = str(place)
    return outcome


def run_with(campaign: Campaign, subject: Subject) -> Outcome:
    begun = time.monotonic()
    with subject.sink:
        subject.set_up()
        with _writing(subject.box.root, campaign.seed) as writer:
            outcome = _Run(campaign, subject, writer).outcome()
    outcome.seconds = time.monotonic() - begun
    return outcome


def kills_of(campaign: Campaign, dice: random.Random) -> list[Kill]:
    at_points = [Kill(point, dice.randint(1, _PASSES.get(point, _MOST_PASSES))) for point in campaign.points]
    from_outside = [
        Kill(
            in_the_start=number < _STARTS_AT_FIRST or dice.random() < _KILLS_IN_THE_START,
            moment=dice.random(),
        )
        for number in range(campaign.from_outside)
    ]
    rest = [*at_points, *from_outside[_STARTS_AT_FIRST:]]
    dice.shuffle(rest)
    return [*from_outside[:_STARTS_AT_FIRST], *rest]


# -- processes ---------------------------------------------------------------------------------------------------


class Life:
    """One process of the program under test, from its start to its end."""

    def __init__(self, subject: Subject, die_at: str) -> None:
        read_end, write_end = os.pipe()
        log = (subject.box.folder / "output.log").open("ab")
        self.began_at = time.monotonic()
        try:
            self._process = subprocess.Popen(
                subject.command(report_fd=write_end, die_at=die_at),
                stdin=subprocess.PIPE,  # its end ends the program, too
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
        self.scanned_at: float | None = None  # the end of its first scan, on the monotonic clock
        self.ended_at: float | None = None
        self.last_output = ""
        self.refusal = ""  # why it would not start
        self._report_fd = read_end
        self._out = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._report_fd, selectors.EVENT_READ, self._on_report)
        self._selector.register(self._out, selectors.EVENT_READ, self._on_output)

    def wait(self, until: float, *, for_its_start: bool = False) -> None:
        """Wait until that moment of the monotonic clock, or its end, or the end of its first look if that is asked."""
        while self.ended_at is None and not (for_its_start and self.scanned_at is not None):
            left = until - time.monotonic()
            if left <= 0:
                return
            for key, _ in self._selector.select(left):
                key.data()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, unless it has ended by itself."""
        self._process.send_signal(number)

    def code(self) -> int:
        """Its exit code; it must have ended, or be about to."""
        return self._process.wait(timeout=_STOP_LIMIT)

    def close(self) -> None:
        """End it if it lives, and let go of everything."""
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
            self.refusal = str(report.get("error", ""))
            self.scanned_at = None if self.refusal else time.monotonic()

    def _on_output(self) -> None:
        output = os.read(self._out, 65536)
        self.last_output += output.decode()
        if not output:
            self._selector.unregister(self._out)
            self.ended_at = time.monotonic()


class Writer:
    """The process that writes the tree."""

    def __init__(self, root: Path, seed: str) -> None:
        self._granted = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.writer", "--root", str(root), "--seed", seed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            text=True,
        )

    def grant(self, steps: int) -> bool:
        """Let it write so many steps more; whether it may."""
        if self._granted + steps > _MOST_ROUNDS * _STEPS_A_ROUND:
            return False
        self._granted += steps
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return True

    def finish(self) -> int:
        """Complete the round; returns how many were written."""
        written, _ = self._process.communicate("end\n")
        return int(written)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def _writing(root: Path, seed: str) -> Iterator[Writer]:
    writer = Writer(root, seed)
    try:
        yield writer
    finally:
        writer.close()


def _environment(subject: Subject) -> dict[str, str]:
    """Without coverage: whoever is killed writes no figures, and measuring makes each start longer."""
    return {key: value for key, value in subject.box.environment().items() if not key.startswith("COVERAGE_PROCESS")}


@contextmanager
def _living(subject: Subject, die_at: str = "") -> Iterator[Life]:
    life = Life(subject, die_at)
    try:
        yield life
    finally:
        life.close()


# -- the campaign ------------------------------------------------------------------------------------------------


class _Run:
    """A campaign under way."""

    def __init__(self, campaign: Campaign, subject: Subject, writer: Writer) -> None:
        self._campaign = campaign
        self._subject = subject
        self._writer = writer
        self._is_written = False  # jobs of the first scan would be reported in one digest
        self._starts: list[float] = [1.0]  # seconds that starts took; the first is a guess
        self._died_at: float | None = None
        self._deaths: Counter[str] = Counter()
        self._recoveries: list[float] = []
        self._troubles: list[str] = []

    def outcome(self) -> Outcome:
        for kill in kills_of(self._campaign, random.Random(self._campaign.seed)):
            self._live(kill)
        return Outcome(self._campaign, self._verdict(), self._deaths, self._recoveries)

    def _live(self, kill: Kill) -> None:
        """One life, to its violent end."""
        if self._is_written:
            self._writer.grant(_STEPS_A_KILL)
        with _living(self._subject, f"{kill.point}:{kill.passes}" if kill.point else "") as life:
            if kill.in_the_start:
                life.wait(life.began_at + kill.moment * statistics.median(self._starts))
                self._note_start(life)
            else:
                life.wait(life.began_at + _START_LIMIT, for_its_start=True)
                self._note_start(life)
                self._work(life, kill)
            from_outside = life.ended_at is None
            if from_outside:
                if kill.point:
                    self._troubles.append(f"{kill.point} was not reached {kill.passes} times")
                life.kill()
                life.wait(time.monotonic() + _STOP_LIMIT)
            self._note_death(life, from_outside=from_outside)

    def _note_start(self, life: Life) -> None:
        if life.scanned_at is None:
            return
        self._starts.append(life.scanned_at - life.began_at)
        if self._died_at is not None:
            self._recoveries.append(life.scanned_at - self._died_at)
        if not self._is_written:
            self._is_written = True
            self._writer.grant(_STEPS_A_KILL)

    def _work(self, life: Life, kill: Kill) -> None:
        if not kill.point:
            life.wait(time.monotonic() + kill.moment * _LONGEST_LIFE)
            return
        until = time.monotonic() + _REACH_LIMIT
        while life.ended_at is None and time.monotonic() < until:
            life.wait(time.monotonic() + _MORE_AFTER)
            if life.ended_at is None and self._subject.is_quiet():
                self._writer.grant(1)

    def _note_death(self, life: Life, *, from_outside: bool) -> None:
        code, output = life.code(), life.last_output.strip()
        self._died_at = life.ended_at
        if code == -signal.SIGKILL and (output or from_outside):
            self._deaths[output] += 1
        else:
            self._troubles.append(f"it exited: exit code {code}, {output} {life.refusal}")

    def _verdict(self) -> Verdict:
        """Without faults and kills, everything owed must arrive, and the worker must become idle."""
        subject, sink = self._subject, self._subject.sink
        sink.faults.is_fair = True
        with _living(subject) as life:
            life.wait(life.began_at + _START_LIMIT, for_its_start=True)
            self._note_start(life)
            owed = owed_by(round_of(number) for number in range(self._writer.finish()))
            until = time.monotonic() + _QUIET_LIMIT
            sink.book.wait_for(owed, _QUIET_LIMIT)
            while not subject.is_quiet() and time.monotonic() < until:
                time.sleep(0.05)  # between two questions, never instead of one
            life.kill(signal.SIGTERM)
            life.wait(time.monotonic() + _STOP_LIMIT)
            if (code := life.code()) != 0:
                self._troubles.append(f"it did not stop in order: exit code {code}")
        while not sink.is_idle() and time.monotonic() < until + _STOP_LIMIT:
            time.sleep(0.05)  # likewise; a message may still be on its way into the book
        return judge(owed, sink.book.entries, subject.unknown(), [*self._troubles, *subject.troubles()])
