"""Clock jumps: nothing is lost, delayed without limit or repeated. Wall and monotonic clock move apart."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message, Receipt
from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.transports.mime import build_mime
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree, VersionedReviewTree

pytestmark = pytest.mark.check_only


MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365 * DAY
THRESHOLD = 4  # single messages to one recipient; the built-in limit would need hundreds of jobs


def some(values: Iterable[Any], count: int) -> list[Any]:
    """The values as parameters, all but the first `count` marked `thorough`."""
    return [each if n < count else pytest.param(each, marks=pytest.mark.thorough) for n, each in enumerate(values)]


# Seconds by which the wall clock jumps, and the monotonic clock with it or not.
JUMPS = {
    "back a year": (-YEAR, 0.0),
    "back a minute": (-MINUTE, 0.0),
    "forward a day": (DAY, 0.0),
    "forward ten years": (10 * YEAR, 0.0),
    "slept 12 h, the monotonic clock too": (12 * HOUR, 0.0),
    "slept 12 h, the monotonic clock not": (12 * HOUR, 12 * HOUR),
}
jumps = pytest.mark.parametrize("jump", some(JUMPS.values(), 1), ids=JUMPS)
Jump = tuple[float, float]


@dataclass
class TimedTransport:
    """Accepts every message, unless `failures` has one for it."""

    clock: Callable[[], float]
    accepted: list[tuple[float, Message]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def check(self) -> None:
        """The sign-in always works."""

    def close(self) -> None:
        """Nothing to close."""

    def send(self, message: Message) -> Receipt:
        if self.failures:
            failure = self.failures.pop(0)
            raise DeliveryError(failure, str(failure))
        build_mime(message, date=self.clock())
        self.accepted.append((self.clock(), message))
        return Receipt("accepted")

    @property
    def notified(self) -> Counter[tuple[str, str]]:
        """How often each recipient was notified of each entity."""
        return Counter(
            (value, message.recipient)
            for _, message in self.accepted
            for name, value in message.headers
            if name == "X-SyftNotify-Entity"
        )


@dataclass
class Worker:
    """The app of one home; with `is_persistent`, one process makes every scan, otherwise each scan has its own."""

    box: Box
    transport: TimedTransport
    is_persistent: bool
    app: App | None = None

    def scan(self) -> ScanReport:
        app = self.open()
        tick = app.pipeline.tick(self.box.clock.now, last_scan=self.box.last_scan)
        app.dispatcher.drain()
        app.pipeline.sync_ledger()
        self.box.last_scan = self.box.clock.now
        if not self.is_persistent:
            self.close()
        return tick

    def open(self) -> App:
        if self.app is None:
            self.app = self.box.open_app()
            self.app.dispatcher.queues["box"].transport = self.transport
            self.app.outbox.queue.recover(self.box.clock.now)
        return self.app

    def close(self) -> None:
        if self.app is not None:
            self.app.close()
            self.app = None

    def jump(self, jump: Jump) -> None:
        self.box.clock.now += jump[0]
        self.box.clock.monotonic_now += jump[1]

    def scans(self, count: int, *, every: float = 10 * MINUTE) -> None:
        """Advance the clock and scan, `count` times."""
        for _ in range(count):
            self.box.clock.advance(every)
            self.scan()

    def waiting(self) -> int:
        waiting = self.open().outbox.history.counts().waiting
        if not self.is_persistent:
            self.close()
        return waiting


@pytest.fixture(params=some([True, False], 1), ids=["one process", "restarts"])
def worker(request: pytest.FixtureRequest, box: Box) -> Iterator[Worker]:
    worker = Worker(box, TimedTransport(box.clock.time), request.param)
    yield worker
    worker.close()


@pytest.fixture
def tree(box: Box, worker: Worker) -> VersionedReviewTree:
    """A tree with two known peers, after the first scan of it."""
    tree = VersionedReviewTree(Disk(box.root, box.clock.time))
    tree.grant(ANA)
    tree.grant(BO)
    worker.scan()
    box.clock.advance(30)
    worker.scan()
    assert worker.transport.accepted == []
    return tree


def submit(tree: VersionedReviewTree, *names: str, by: str = ANA) -> list[str]:
    for name in names:
        tree.submit(name, by)
        tree.receive(name, by)
    return [tree.entity(name, by) for name in names]


def once_each(entities: list[str], *recipients: str) -> Counter[tuple[str, str]]:
    return Counter((entity, recipient) for entity in entities for recipient in recipients)


@jumps
@pytest.mark.parametrize("failure", some([Failure.TEMPORARY, Failure.UNREACHABLE, Failure.UNKNOWN], 1))
def test_mails_in_backoff_are_delivered_once(
    worker: Worker, tree: VersionedReviewTree, jump: Jump, failure: Failure
) -> None:
    """X01: within the longest backoff, whatever the clock was when they failed."""
    worker.transport.failures = [failure] * 2
    jobs = submit(tree, "survey")
    worker.scan()
    for _ in range(4):  # a longer wait each time
        worker.box.clock.advance(20 * MINUTE)
        worker.transport.failures = [failure] * 2
        worker.scan()
    worker.transport.failures = []
    assert (worker.transport.accepted, worker.waiting()) == ([], 2)
    worker.jump(jump)
    worker.scan()
    worker.scans(7)
    assert worker.transport.notified == once_each(jobs, OWNER, ANA)
    worker.scans(6)

    assert worker.transport.notified == once_each(jobs, OWNER, ANA)


@pytest.mark.parametrize("days", some([1, 7], 1))
def test_clock_set_back_by_days_delays_a_retry_by_no_more(worker: Worker, tree: VersionedReviewTree, days: int) -> None:
    """X01: up to the longest `Retry-After`, the two cannot be distinguished."""
    worker.transport.failures = [Failure.TEMPORARY] * 2
    jobs = submit(tree, "survey")
    worker.scan()
    worker.jump((-days * DAY, 0))
    worker.scans(24 * days + 2, every=HOUR)

    assert worker.transport.notified == once_each(jobs, OWNER, ANA)


@jumps
def test_throttled_mails_are_delivered_once(worker: Worker, tree: VersionedReviewTree, jump: Jump) -> None:
    """X01: while the recipient is throttled, and after that."""
    worker.close()
    worker.box.configure({"digest": {"above": THRESHOLD, "within": "10m", "every": "10m"}})
    jobs: list[str] = []
    for chunk in range(4):
        jobs += submit(tree, *(f"job {chunk}-{number}" for number in range(THRESHOLD)))
        worker.box.clock.advance(20)
        worker.scan()
    assert worker.waiting() > 0
    messages = len(worker.transport.accepted)
    worker.jump(jump)
    worker.scan()
    jobs += submit(tree, "late")
    worker.scans(4)

    assert worker.transport.notified == once_each(jobs, OWNER, ANA)
    assert len(worker.transport.accepted) - messages <= 4, "one digest for each recipient, and the late messages"
    worker.scans(4)
    assert worker.transport.notified == once_each(jobs, OWNER, ANA)


@jumps
def test_events_during_a_jump_are_delivered_once(worker: Worker, tree: VersionedReviewTree, jump: Jump) -> None:
    """X01: in one message after an hour or more without a scan, as far as the clock shows."""
    jobs = submit(tree, *(f"job {number}" for number in range(3)), by=ANA)
    jobs_of_bo = submit(tree, *(f"job {number}" for number in range(3)), by=BO)
    worker.jump(jump)
    worker.scan()
    worker.scans(3)

    expected = once_each(jobs, OWNER, ANA) + once_each(jobs_of_bo, OWNER, BO)
    assert worker.transport.notified == expected
    to_owner = [message for _, message in worker.transport.accepted if message.recipient == OWNER]
    if jump[0] > HOUR:
        assert len(to_owner) == 1
    worker.scans(3)
    assert worker.transport.notified == expected


@jumps
def test_downtime_that_is_only_a_jump_delays_nothing(worker: Worker, tree: VersionedReviewTree, jump: Jump) -> None:
    """X01: a last scan in the future, or in another decade, changes only the grouping."""
    worker.jump(jump)
    worker.scan()
    worker.jump((-jump[0], 0))
    jobs = submit(tree, *(f"job {number}" for number in range(7)))
    worker.scan()
    worker.scans(2)

    assert worker.transport.notified == once_each(jobs, OWNER, ANA)


@jumps
@pytest.mark.parametrize("failure", some([Failure.QUOTA, Failure.AUTH], 1))
def test_paused_transport_resumes(worker: Worker, tree: VersionedReviewTree, jump: Jump, failure: Failure) -> None:
    """X07: its messages are delivered in order, once, within the longest pause."""
    worker.transport.failures = [failure]
    jobs = submit(tree, "survey")
    worker.scan()
    tree.approve("survey")
    tree.run("survey")
    worker.box.clock.advance(20)
    worker.transport.failures = [failure] * 2
    worker.scan()
    worker.jump(jump)
    worker.scan()
    worker.transport.failures = []
    worker.scans(8)

    to_ana = [
        dict(message.headers)["X-SyftNotify-Event"]
        for _, message in worker.transport.accepted
        if message.recipient == ANA
    ]
    assert to_ana == ["job_submitted", "job_approved", "job_completed"]
    assert worker.transport.notified == Counter({(jobs[0], ANA): 3, (jobs[0], OWNER): 2})


@jumps
@pytest.mark.parametrize("layout", some(["D", "B4", "A"], 1))
def test_half_written_job_is_delivered_once(box: Box, worker: Worker, layout: str, jump: Jump) -> None:
    """X10: files that are still being synced, and an end without its return code."""
    tree: Tree = TREES[layout](Disk(box.root, box.clock.time))
    tree.submit("first", ANA)
    worker.scan()
    box.clock.advance(100)
    worker.scan()
    worker.transport.accepted.clear()
    tree.approve("first", ANA)
    tree.run("first", ANA)
    for file in tree.results_folder("first", ANA).rglob("returncode.txt"):
        file.unlink()
    tree.submit("second", ANA)
    for file in tree.job_folder("second", ANA).rglob("*.*"):
        if file.name in {"run.sh", "main.py"}:
            file.unlink()
    box.clock.advance(1)
    worker.scan()
    worker.jump(jump)
    worker.scan()
    worker.scans(8, every=20)
    recipient = ANA if tree.names_submitter else OWNER
    expected = {"job_approved": 1, "job_completed": 1} if tree.names_submitter else {"job_completed": 1}
    notified = [dict(m.headers) for _, m in worker.transport.accepted if m.recipient == recipient]

    first = [
        item["X-SyftNotify-Event"] for item in notified if item["X-SyftNotify-Entity"] == tree.entity("first", ANA)
    ]
    second = [
        item["X-SyftNotify-Event"] for item in notified if item["X-SyftNotify-Entity"] == tree.entity("second", ANA)
    ]
    assert Counter(first) == expected
    assert second == ["job_submitted"]


@pytest.mark.parametrize("offset", some([10 * YEAR, -10 * YEAR], 1), ids=["ten years ahead", "ten years ago"])
def test_clock_wrong_for_an_hour_loses_and_repeats_nothing(
    worker: Worker, tree: VersionedReviewTree, offset: float
) -> None:
    """X01: a message that failed, paused or was sent in the wrong year is neither delayed nor repeated."""
    worker.jump((offset, 0))
    jobs = submit(tree, "in the wrong year")
    worker.scan()
    worker.transport.failures = [Failure.TEMPORARY] * 2
    jobs += submit(tree, "failed in the wrong year")
    worker.box.clock.advance(30)
    worker.scan()
    worker.box.clock.advance(HOUR - MINUTE)
    worker.jump((-offset, 0))
    worker.scan()
    jobs += submit(tree, "in the right year")
    worker.scans(7)

    assert worker.transport.notified == once_each(jobs, OWNER, ANA)
    assert worker.waiting() == 0


def test_clock_that_jumps_at_every_scan_loses_and_repeats_nothing(worker: Worker, tree: VersionedReviewTree) -> None:
    """X01"""
    rng = random.Random(4)
    jobs: list[str] = []
    for number in range(12):
        worker.transport.failures = [Failure.TEMPORARY] * rng.randrange(3)
        jobs += submit(tree, f"job {number}")
        worker.jump((rng.choice([-YEAR, -DAY, -HOUR, -1, HOUR, DAY, YEAR]), 0))
        worker.scans(1, every=31)
    worker.transport.failures = []
    worker.scans(10, every=DAY)

    assert worker.transport.notified == once_each(jobs, OWNER, ANA)


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
    """Each message and its time, from an hour before that moment to three hours after it."""
    random.seed(1)  # waits are drawn
    box = Box(folder)
    box.clock.now = around.timestamp() - HOUR
    box.root.mkdir(parents=True)
    # One attempt at a time: which of two mails fails must not be a matter of luck.
    notify = {"sync_state_path": str(box.snapshot), "max_concurrent_deliveries": 1}
    box.configure({"notify": notify, "timezones": {OWNER: "UTC"}})
    worker = Worker(box, TimedTransport(box.clock.time), is_persistent=True)
    try:
        tree = VersionedReviewTree(Disk(box.root, box.clock.time))
        tree.grant(ANA)
        worker.scan()
        for number in range(24):
            worker.transport.failures = [Failure.TEMPORARY] if number % 3 == 0 else []
            submit(tree, f"job {number}")
            if number == 8:
                box.clock.advance(65 * MINUTE)
            worker.scans(1, every=9 * MINUTE)
        worker.transport.failures = []
        worker.scans(8)
    finally:
        worker.close()
    assert set(worker.transport.notified.values()) == {1}
    assert len(worker.transport.notified) == 48
    return sorted((at, message.recipient, message.subject, message.text) for at, message in worker.transport.accepted)


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be set here")
@pytest.mark.parametrize("zone", some(CHANGES, 1))
def test_summer_time_changes_nothing(tmp_path: Path, in_zone: Callable[[str], None], zone: str) -> None:
    """X01: the same messages at the same times with the same text, in this timezone and in UTC."""
    in_zone("UTC")
    expected = story(tmp_path / "utc", CHANGES[zone])
    in_zone(zone)
    assert time.localtime().tm_zone != "UTC"

    assert story(tmp_path / "zone", CHANGES[zone]) == expected
