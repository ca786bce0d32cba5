"""Clocks that jump: nothing floods, stops, starves or is told twice. Wall clock and monotonic clock move apart."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.transports.mime import build_mime
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree, VersionedReviewTree

pytestmark = pytest.mark.fire

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365 * DAY
STORM = 4  # single messages to one recipient; the built-in limit would need hundreds of jobs

# Seconds by which the wall clock jumps, and the monotonic clock with it or not.
JUMPS = {
    "back a year": (-YEAR, 0.0),
    "back a minute": (-MINUTE, 0.0),
    "forward a day": (DAY, 0.0),
    "forward ten years": (10 * YEAR, 0.0),
    "slept 12 h, the monotonic clock too": (12 * HOUR, 0.0),
    "slept 12 h, the monotonic clock not": (12 * HOUR, 12 * HOUR),
}
jumps = pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
Jump = tuple[float, float]


@dataclass
class Post:
    """The other side: takes every message, unless it is told to fail."""

    clock: Callable[[], float]
    got: list[tuple[float, Message]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def check(self) -> None:
        """Signing in alone always works."""

    def close(self) -> None:
        """Nothing is kept."""

    def send(self, message: Message) -> Receipt:
        if self.failures:
            failure = self.failures.pop(0)
            raise DeliveryError(failure, f"said {failure}")
        build_mime(message, date=self.clock())
        self.got.append((self.clock(), message))
        return Receipt("taken")

    @property
    def told(self) -> Counter[tuple[str, str]]:
        """How often each recipient was told of each entity."""
        return Counter(
            (value, message.recipient)
            for _, message in self.got
            for name, value in message.headers
            if name == "X-SyftNotify-Entity"
        )


@dataclass
class Worker:
    """The rooms of one home from look to look; `lives` says whether one process stays, or each look is another's."""

    box: Box
    post: Post
    lives: bool
    parts: App | None = None

    def look(self) -> ScanReport:
        parts = self.opened()
        tick = parts.pipeline.tick(self.box.clock.now, last_scan=self.box.last_look)
        parts.dispatcher.drain()
        parts.pipeline.sync_ledger()
        self.box.last_look = self.box.clock.now
        if not self.lives:
            self.close()
        return tick

    def opened(self) -> App:
        if self.parts is None:
            self.parts = self.box.parts()
            self.parts.dispatcher.queues["box"].transport = self.post
            self.parts.outbox.queue.recover(self.box.clock.now)
        return self.parts

    def close(self) -> None:
        if self.parts is not None:
            self.parts.close()
            self.parts = None

    def jump(self, jump: Jump) -> None:
        self.box.clock.now += jump[0]
        self.box.clock.ticks += jump[1]

    def looks(self, count: int, *, every: float = 10 * MINUTE) -> None:
        """So many looks, as time goes by."""
        for _ in range(count):
            self.box.clock.advance(every)
            self.look()

    def waiting(self) -> int:
        waiting = self.opened().outbox.history.counts().waiting
        if not self.lives:
            self.close()
        return waiting


@pytest.fixture(params=[True, False], ids=["one process", "restarts"])
def worker(request: pytest.FixtureRequest, box: Box) -> Iterator[Worker]:
    worker = Worker(box, Post(box.clock.time), request.param)
    yield worker
    worker.close()


@pytest.fixture
def tree(box: Box, worker: Worker) -> VersionedReviewTree:
    """A tree with two peers of old, after the first look at it."""
    tree = VersionedReviewTree(Disk(box.root, box.clock.time))
    tree.grant(ANA)
    tree.grant(BO)
    worker.look()
    box.clock.advance(30)
    worker.look()
    assert worker.post.got == []
    return tree


def submit(tree: VersionedReviewTree, *names: str, by: str = ANA) -> list[str]:
    for name in names:
        tree.submit(name, by)
        tree.receive(name, by)
    return [tree.entity(name, by) for name in names]


def once_each(entities: list[str], *recipients: str) -> Counter[tuple[str, str]]:
    return Counter((entity, recipient) for entity in entities for recipient in recipients)


# -- what waits when the clock jumps -----------------------------------------------------------------------------------


@jumps
@pytest.mark.parametrize("failure", [Failure.TEMPORARY, Failure.UNREACHABLE, Failure.UNKNOWN])
def test_mails_in_backoff_are_delivered_once(
    worker: Worker, tree: VersionedReviewTree, jump: Jump, failure: Failure
) -> None:
    """X01: within the longest wait that there is, whatever the clock said when they failed."""
    worker.post.failures = [failure] * 2
    jobs = submit(tree, "survey")
    worker.look()
    for _ in range(4):  # a longer wait each time
        worker.box.clock.advance(20 * MINUTE)
        worker.post.failures = [failure] * 2
        worker.look()
    worker.post.failures = []
    assert (worker.post.got, worker.waiting()) == ([], 2)
    worker.jump(jump)
    worker.look()
    worker.looks(7)
    assert worker.post.told == once_each(jobs, OWNER, ANA)
    worker.looks(6)

    assert worker.post.told == once_each(jobs, OWNER, ANA)


@pytest.mark.parametrize("days", [1, 7])
def test_a_clock_that_is_set_back_by_days_delays_a_retry_by_no_more_than_that(
    worker: Worker, tree: VersionedReviewTree, days: int
) -> None:
    """X01: less than the longest wait that anybody may ask for, so nobody can tell it from one."""
    worker.post.failures = [Failure.TEMPORARY] * 2
    jobs = submit(tree, "survey")
    worker.look()
    worker.jump((-days * DAY, 0))
    worker.looks(24 * days + 2, every=HOUR)

    assert worker.post.told == once_each(jobs, OWNER, ANA)


@jumps
def test_what_waits_for_the_digest_of_a_storm_is_told_once(
    worker: Worker, tree: VersionedReviewTree, jump: Jump
) -> None:
    """X01: while a storm goes on, and after it."""
    worker.close()
    worker.box.configure({"digest": {"above": STORM, "within": "10m", "every": "10m"}})
    jobs: list[str] = []
    for heap in range(4):
        jobs += submit(tree, *(f"job {heap}-{number}" for number in range(STORM)))
        worker.box.clock.advance(20)
        worker.look()
    assert worker.waiting() > 0
    messages = len(worker.post.got)
    worker.jump(jump)
    worker.look()
    jobs += submit(tree, "late")
    worker.looks(4)

    assert worker.post.told == once_each(jobs, OWNER, ANA)
    assert len(worker.post.got) - messages <= 4, "what waited came in a digest for each, and the late one by itself"
    worker.looks(4)
    assert worker.post.told == once_each(jobs, OWNER, ANA)


@jumps
def test_much_that_happened_meanwhile_is_told_once(worker: Worker, tree: VersionedReviewTree, jump: Jump) -> None:
    """X01: in one message when nobody looked for an hour or more, as far as the clock can tell."""
    jobs = submit(tree, *(f"job {number}" for number in range(3)), by=ANA)
    jobs_of_bo = submit(tree, *(f"job {number}" for number in range(3)), by=BO)
    worker.jump(jump)
    worker.look()
    worker.looks(3)

    expected = once_each(jobs, OWNER, ANA) + once_each(jobs_of_bo, OWNER, BO)
    assert worker.post.told == expected
    to_owner = [message for _, message in worker.post.got if message.recipient == OWNER]
    if jump[0] > HOUR:
        assert len(to_owner) == 1
    worker.looks(3)
    assert worker.post.told == expected


@jumps
def test_time_off_that_the_clock_makes_up_is_no_reason_to_wait(
    worker: Worker, tree: VersionedReviewTree, jump: Jump
) -> None:
    """X01: a last look that lies in the future, or in another decade, changes only how the news is gathered."""
    worker.jump(jump)
    worker.look()
    worker.jump((-jump[0], 0))
    jobs = submit(tree, *(f"job {number}" for number in range(7)))
    worker.look()
    worker.looks(2)

    assert worker.post.told == once_each(jobs, OWNER, ANA)


@jumps
@pytest.mark.parametrize("failure", [Failure.QUOTA, Failure.AUTH])
def test_a_paused_transport_goes_on(worker: Worker, tree: VersionedReviewTree, jump: Jump, failure: Failure) -> None:
    """X07: what it owes is delivered in order, once, within the longest pause."""
    worker.post.failures = [failure]
    jobs = submit(tree, "survey")
    worker.look()
    tree.approve("survey")
    tree.run("survey")
    worker.box.clock.advance(20)
    worker.post.failures = [failure] * 2
    worker.look()
    worker.jump(jump)
    worker.look()
    worker.post.failures = []
    worker.looks(8)

    to_ana = [dict(message.headers)["X-SyftNotify-Event"] for _, message in worker.post.got if message.recipient == ANA]
    assert to_ana == ["job_submitted", "job_approved", "job_completed"]
    assert worker.post.told == Counter({(jobs[0], ANA): 3, (jobs[0], OWNER): 2})


@jumps
@pytest.mark.parametrize("layout", ["A", "B4", "D"])
def test_a_job_that_is_half_written_is_told_once(box: Box, worker: Worker, layout: str, jump: Jump) -> None:
    """X10: files that are still on their way, and an end without its return code."""
    tree: Tree = TREES[layout](Disk(box.root, box.clock.time))
    tree.submit("first", ANA)
    worker.look()
    box.clock.advance(100)
    worker.look()
    worker.post.got.clear()
    tree.approve("first", ANA)
    tree.run("first", ANA)
    for file in tree.results("first", ANA).rglob("returncode.txt"):
        file.unlink()
    tree.submit("second", ANA)
    for file in tree.place("second", ANA).rglob("*.*"):
        if file.name in {"run.sh", "main.py"}:
            file.unlink()
    box.clock.advance(1)
    worker.look()
    worker.jump(jump)
    worker.look()
    worker.looks(8, every=20)
    recipient = ANA if tree.names_submitter else OWNER
    expected = {"job_approved": 1, "job_completed": 1} if tree.names_submitter else {"job_completed": 1}
    told = [dict(m.headers) for _, m in worker.post.got if m.recipient == recipient]

    first = [item["X-SyftNotify-Event"] for item in told if item["X-SyftNotify-Entity"] == tree.entity("first", ANA)]
    second = [item["X-SyftNotify-Event"] for item in told if item["X-SyftNotify-Entity"] == tree.entity("second", ANA)]
    assert Counter(first) == expected
    assert second == ["job_submitted"]


@pytest.mark.parametrize("far", [10 * YEAR, -10 * YEAR], ids=["ten years ahead", "ten years ago"])
def test_a_clock_that_is_wrong_for_an_hour_and_then_set_right_leaves_no_trace(
    worker: Worker, tree: VersionedReviewTree, far: float
) -> None:
    """X01: what failed, paused or was told in the wrong year is neither starved nor repeated."""
    worker.jump((far, 0))
    jobs = submit(tree, "in the wrong year")
    worker.look()
    worker.post.failures = [Failure.TEMPORARY] * 2
    jobs += submit(tree, "failed in the wrong year")
    worker.box.clock.advance(30)
    worker.look()
    worker.box.clock.advance(HOUR - MINUTE)
    worker.jump((-far, 0))
    worker.look()
    jobs += submit(tree, "in the right year")
    worker.looks(7)

    assert worker.post.told == once_each(jobs, OWNER, ANA)
    assert worker.waiting() == 0


def test_a_clock_that_jumps_at_every_look_stops_nobody(worker: Worker, tree: VersionedReviewTree) -> None:
    """X01: as on a machine whose clock nobody sets."""
    chance = random.Random(4)
    jobs: list[str] = []
    for number in range(12):
        worker.post.failures = [Failure.TEMPORARY] * chance.randrange(3)
        jobs += submit(tree, f"job {number}")
        worker.jump((chance.choice([-YEAR, -DAY, -HOUR, -1, HOUR, DAY, YEAR]), 0))
        worker.looks(1, every=31)
    worker.post.failures = []
    worker.looks(10, every=DAY)

    assert worker.post.told == once_each(jobs, OWNER, ANA)


# -- time zones --------------------------------------------------------------------------------------------------------

# A zone, and a moment at which its clocks change.
CHANGES = {
    "Europe/Berlin": datetime(2027, 3, 28, 1, tzinfo=UTC),
    "Europe/London": datetime(2027, 10, 31, 1, tzinfo=UTC),
    "America/New_York": datetime(2027, 11, 7, 6, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2027, 4, 3, 15, tzinfo=UTC),
    "Pacific/Apia": datetime(2011, 12, 30, 10, tzinfo=UTC),  # left out a whole day
    "Africa/Casablanca": datetime(2027, 2, 7, 2, tzinfo=UTC),
}
Story = list[tuple[float, str, str, str]]


def story(folder: Path, around: datetime) -> Story:
    """What is told, and when, from an hour before that moment to three hours after it."""
    random.seed(1)  # waits are drawn
    box = Box(folder)
    box.clock.now = around.timestamp() - HOUR
    box.root.mkdir(parents=True)
    # One attempt at a time: which of two mails fails must not be a matter of luck.
    box.configure({"notify": {"sync_state_path": str(box.snapshot), "max_concurrent_deliveries": 1}})
    worker = Worker(box, Post(box.clock.time), lives=True)
    try:
        tree = VersionedReviewTree(Disk(box.root, box.clock.time))
        tree.grant(ANA)
        worker.look()
        for number in range(24):
            worker.post.failures = [Failure.TEMPORARY] if number % 3 == 0 else []
            submit(tree, f"job {number}")
            if number == 8:
                box.clock.advance(65 * MINUTE)
            worker.looks(1, every=9 * MINUTE)
        worker.post.failures = []
        worker.looks(8)
    finally:
        worker.close()
    assert set(worker.post.told.values()) == {1}
    assert len(worker.post.told) == 48
    return sorted((at, message.recipient, message.subject, message.text) for at, message in worker.post.got)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be set here")
@pytest.mark.parametrize("zone", CHANGES)
def test_a_change_of_the_hour_changes_nothing(tmp_path: Path, in_zone: Callable[[str], None], zone: str) -> None:
    """X01: the same is told at the same moments in the same words, in this zone and in UTC."""
    in_zone("UTC")
    expected = story(tmp_path / "utc", CHANGES[zone])
    in_zone(zone)
    assert time.localtime().tm_zone != "UTC"

    assert story(tmp_path / "zone", CHANGES[zone]) == expected
