"""All promises at once, in a worker that is killed and restarted.

The tree, the ledger and the outbox are real. Hypothesis draws the answers of the transport, the points
of kills, the lost files and the jumps of the clock. Every notification that is ever found in the outbox is recorded
here, and must be accounted for from then on.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import END_KINDS, EventKind
from syftnotify.core.models import Message, NotificationState, Receipt
from syftnotify.core.outbox import AttemptOutcome, ClaimedNotification
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.runtime.container import App, build_app
from syftnotify.services.settings import load
from syftnotify.store.ledger.index import Ledger
from syftnotify.system import failpoints
from tests.support import ANA, BO, FUZZ_FACTOR, OWNER, Box, claim
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.thorough
pytestmark = pytest.mark.thorough
CY = "cy@clinic.example"
HOUR, DAY = 3600.0, 86400.0
THRESHOLD = 4  # single messages to one recipient; the built-in limit would need hundreds of jobs
MAX_JOBS = 10
TRANSPORT = "box"
# Made once: compiling the templates costs more than everything else here.
RENDERER = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())
# The fate of one message. `lost` and `arrived` both have an unknown outcome. No mail server answers GONE.
ANSWERS = ["sent", "lost", "arrived", "breaks", *(failure.value for failure in Failure)]
ANSWERS = [answer for answer in ANSWERS if answer not in {Failure.UNKNOWN, Failure.GONE}]
ANSWERS += ["lost", "arrived", "not_now", "not_now", "refused"]
# Fail-points of a scan or a delivery; the others belong to the start of a process or to another transport.
KILL_POINTS = sorted(failpoints.POINTS - {"worker.locked", "smtp.dot"})
DAMAGES = ["kept", "gone", "empty", "cut", "garbage"]
numbers = st.integers(0, 99)
TREE_CHANGES = [
    *["submit", "submit", "submit_many", "approve", "reject", "end", "end", "advance_all", "rerun"],
    *["delete", "change_peer"],
]
changes = st.lists(st.tuples(st.sampled_from(TREE_CHANGES), numbers), max_size=3)
seconds = st.sampled_from([1.0, 6.0, 61.0, 301.0, 601.0, HOUR + 1, HOUR + 1, 3 * HOUR, DAY, 4 * DAY])
# Mixed answers, or the same one to all messages.
answers = st.lists(st.sampled_from(ANSWERS), max_size=6) | st.sampled_from(ANSWERS).map(lambda answer: [answer] * 9)
kills = st.none() | st.tuples(st.sampled_from(KILL_POINTS), st.sampled_from([1, 1, 2, 3]))
concurrent_claims = st.tuples(
    st.just("claim_concurrently"), st.lists(st.sampled_from(["sent", "unknown", "refused", "left"]), max_size=6)
)
clock_jumps = st.tuples(
    st.just("jump_wall_clock"), st.sampled_from([-5 * DAY, -DAY, -HOUR, -30.0, -1.0, 90.0, DAY, 5 * DAY])
)
requeues = st.tuples(st.just("requeue_dead_letters"), numbers)
ledger_damages = st.tuples(
    st.just("damage_ledger"),
    st.tuples(st.sampled_from(DAMAGES), st.sampled_from(["kept", "kept", *DAMAGES]), st.sampled_from([0.1, 0.5, 0.99])),
)
outbox_losses = st.tuples(st.just("lose_outbox"), st.sampled_from(["gone", "empty", "garbage"]))
outbox_removals = st.tuples(st.just("remove_outbox_of_running_worker"), st.none())
# Some troubles erase what came before them, so they are rarer.
troubles = st.one_of(
    concurrent_claims,
    concurrent_claims,
    concurrent_claims,
    clock_jumps,
    clock_jumps,
    requeues,
    requeues,
    ledger_damages,
    ledger_damages,
    outbox_losses,
    outbox_removals,
)


class Killed(BaseException):
    """SIGKILL: no code runs after this."""


@dataclass(slots=True)
class Expected:
    """A notification that was found in the outbox, and what is known of it."""

    id: str
    event_key: str
    entity: str
    kind: EventKind
    occurrence: str
    recipient: str
    run: int  # the run of the job whose end it reports
    is_confirmed: bool = False  # accepted, and recorded so in the outbox
    is_dead: bool = False
    is_skipped: bool = False
    is_requeued: bool = False  # requeued by a person; recorded in the outbox only
    has_no_fixed_id: bool = False  # its next attempt may have another id
    is_excused: bool = False  # all records of it were lost, or its outbox and its fact
    is_accepted: bool = False  # accepted by the transport
    is_refused: bool = False  # rejected by the transport
    deliveries: int = 0  # possible deliveries that this outbox can count
    temporary_failures: int = 0
    last_state: str = "pending"  # its state before the attempt in flight
    sent_as: str = ""  # the id of the message that may have arrived

    @property
    def is_settled(self) -> bool:
        return self.is_confirmed or self.is_dead or self.is_skipped or self.is_excused

    def mark_requeued(self) -> None:
        self.is_dead, self.is_refused, self.temporary_failures, self.sent_as = False, False, 0, ""
        self.is_requeued = self.has_no_fixed_id = True

    def forget_outcomes(self) -> None:
        """Its outbox is lost; it may be sent again."""
        self.is_confirmed = self.is_dead = self.is_refused = self.is_requeued = self.has_no_fixed_id = False
        self.deliveries = self.temporary_failures = 0
        self.sent_as = ""


@dataclass(slots=True)
class KnownJob:
    """A job that this test made."""

    tree: Tree
    name: str
    submitter: str
    stage: str = "submitted"  # approved, ended, rejected, deleted
    runs: int = 0

    @property
    def entity(self) -> str:
        return self.tree.entity(self.name, self.submitter)


@dataclass(frozen=True, slots=True)
class Row:
    """A notification as the database has it."""

    id: str
    seq: int
    event_key: str
    entity: str
    kind: EventKind
    occurrence: str
    recipient: str
    bundle: str
    state: str
    unknown: int  # attempts of unknown outcome


class Promises(RuleBasedStateMachine):
    """The worker of one home, its tree, its transport, and what can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        # Kills lose no written data, so a memory file system suffices where there is one.
        self.folder = Path(tempfile.mkdtemp(prefix="promises-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.box = Box(self.folder)
        self.box.root.mkdir()
        self.box.configure()
        self.settings = load(self.box.home)
        self.box.snapshot.parent.mkdir(parents=True)
        disk = Disk(self.box.root, self.box.clock.time)
        self.trees = [TREES["D"](disk), TREES["B4"](disk)]
        self.jobs: list[KnownJob] = []
        self.peers: dict[str, str] = {}  # address -> requested or granted
        self.expected: dict[str, Expected] = {}
        self.rows: dict[str, Row] = {}
        self.violations: list[str] = []  # found where no exception may be raised
        self.script: list[str] = []
        self.kill: tuple[str, int] | None = None
        self.is_killed = False
        self.last_scan: float | None = None
        self.rejected: set[str] = set()  # ids rejected since the last accepted message
        self.resend = True
        self.max_retries: int | None = None
        self.app: App
        self.dispatcher: Dispatcher
        failpoints.on_reach = self.on_reach

    def teardown(self) -> None:
        try:
            if hasattr(self, "dispatcher") and not self.violations:
                self.recovers_completely()
        finally:
            failpoints.on_reach = None
            if hasattr(self, "dispatcher"):
                self.close_app()
            shutil.rmtree(self.folder)

    @initialize(resends=st.booleans(), max_retries=st.sampled_from([None, 0, 2]))
    def scan_once(self, resends: bool, max_retries: int | None) -> None:
        self.resend, self.max_retries = resends, max_retries
        for tree in self.trees:
            for scientist in (ANA, BO):
                tree.grant(scientist)
        self.open()
        self.run_worker([], None, scans=True, delivers=True)

    # -- the worker ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start a process: it reads everything from disk, and messages found sending have an unknown outcome."""
        self.is_killed, self.kill, self.rejected = False, None, set()
        self.app = build_app(self.settings, clock=self.box.clock.time, monotonic=self.box.clock.monotonic)
        options = QueueOptions(max_retries=self.max_retries, resend_unknown=self.resend)
        # One attempt at a time makes a run repeatable.
        self.dispatcher = Dispatcher(
            self.app.outbox,
            [TransportQueue(TRANSPORT, self, RENDERER, options)],
            worker_id="test",
            max_concurrent=1,
            throttle_rules=(ThrottleRule(threshold=THRESHOLD),),
            clock=self.box.clock.time,
            monotonic=self.box.clock.monotonic,
        )
        self.app.outbox.queue.recover(self.box.clock.now)
        self.update_expected()

    def close_app(self) -> None:
        """End the process; its memory is lost."""
        self.dispatcher.stop(seconds=5)
        self.app.close()

    def restart(self) -> None:
        self.close_app()
        self.open()

    @contextlib.contextmanager
    def killable(self, kill: tuple[str, int] | None) -> Iterator[None]:
        """Run work that is killed at the point `kill`, if it gets there; then start another process."""
        self.kill = kill
        with contextlib.suppress(Killed):
            yield
        self.kill = None
        if self.is_killed:
            note(f"killed at {kill}")
            self.restart()

    def deliver(self) -> None:
        self.dispatcher.drain()
        if self.is_killed:  # in the thread of an attempt
            raise Killed
        self.app.pipeline.sync_ledger()

    def on_reach(self, point: str) -> None:
        if self.is_killed:
            raise Killed
        if point in {"outbox.enqueued", "attempt.recorded"}:
            self.record_outbox()
        if self.kill and point == self.kill[0]:
            self.kill = (point, self.kill[1] - 1)
            if not self.kill[1]:
                self.is_killed = True
                self.dispatcher._outcomes._unsaved.clear()  # a kill loses the memory
                self.dispatcher.stop(seconds=0)  # and ends every thread
                raise Killed

    # -- the transport -------------------------------------------------------------------------------

    def check(self) -> None:
        """The sign-in always works."""

    def close(self) -> None:
        """Nothing to close."""

    def send(self, message: Message) -> Receipt:
        if self.is_killed:
            raise Killed
        self.record_outbox()
        sending = [row for row in self.rows.values() if row.state == "sending"]
        self.check_message(message, sending)
        answer = self.script.pop(0) if self.script else "sent"
        if answer == "sent":
            self.rejected = set()
        elif answer == Failure.PERMANENT:
            self.rejected.add(message.id)
        for row in sending:
            expected = self.expected[row.id]
            if answer in {"sent", "arrived", "breaks"}:
                expected.deliveries += 1
            if answer in {"sent", "arrived", "breaks", "lost"}:
                expected.sent_as = "" if expected.has_no_fixed_id else message.id
            expected.temporary_failures += answer == Failure.TEMPORARY
            expected.is_accepted = expected.is_accepted or answer == "sent"
            # From the third in a row on, the transport is at fault, and the message may be kept.
            expected.is_refused = answer == Failure.PERMANENT and len(self.rejected) < 3
        if answer == "breaks":
            raise RuntimeError("unexpected")
        if answer != "sent":
            raise DeliveryError(Failure.UNKNOWN if answer in {"lost", "arrived"} else Failure(answer), answer)
        return Receipt("accepted", "thread")

    def check_message(self, message: Message, sending: Sequence[Row]) -> None:
        """What must hold when a message is sent."""
        self.require(bool(sending), "a message without a recorded attempt")
        self.require({row.recipient for row in sending} == {message.recipient}, "a message to another recipient")
        self.require(len({row.bundle for row in sending}) == 1, "two messages claimed at once")
        for row in sending:
            expected = self.expected[row.id]
            self.require(not expected.is_confirmed, f"a confirmed message was sent again: {row}")
            self.require(not expected.is_dead, f"a dead letter was sent again: {row}")
            self.require(not expected.is_refused, f"a rejected message was sent again: {row}")
            self.require(bool(row.bundle) or message.id == row.id, f"a single message under another id: {row}")
            self.require(expected.sent_as in {"", message.id}, f"sent again under another id: {row}")
            limit = None if self.max_retries is None else self.max_retries + 1
            self.require(limit is None or expected.temporary_failures < limit, f"more attempts than allowed: {row}")
            self.require(self.resend or expected.last_state != "unknown", f"a message on hold was sent: {row}")
            self.require(not self.earlier_unfinished(row), f"sent before an earlier one: {row}")
        digests = {row.bundle for row in sending} - {""}
        for row in self.rows.values():
            if row.bundle in digests and row.state in self.claimable:
                self.require(bool(self.earlier_unfinished(row)), f"left out of its digest: {row}")

    @property
    def claimable(self) -> set[str]:
        return {"pending", "unknown"} if self.resend else {"pending"}

    def earlier_unfinished(self, row: Row) -> list[Row]:
        """Earlier unfinished rows about the same entity to the same recipient, outside its own bundle."""
        return [
            other
            for other in self.rows.values()
            if (other.entity, other.recipient) == (row.entity, row.recipient)
            and other.seq < row.seq
            and other.state in {"sending", *self.claimable}
            and (not row.bundle or other.bundle != row.bundle)
        ]

    def require(self, holds: bool, promise: str) -> None:
        if not holds:
            self.violations.append(promise)

    # -- what is on disk -------------------------------------------------------------------------------------------

    def record_outbox(self) -> None:
        """Read the outbox as another program would; new rows are expected from now on."""
        self.rows = {row.id: row for row in self.read_outbox()}
        for row in self.rows.values():
            if row.id not in self.expected:
                run = next((job.runs for job in self.jobs if job.entity == row.entity), 0)
                self.expected[row.id] = Expected(
                    row.id, row.event_key, row.entity, row.kind, row.occurrence, row.recipient, run
                )
            expected = self.expected[row.id]
            if expected.is_excused and row.state in {"pending", "sending", "unknown"}:
                expected.is_excused = False  # detected again after all
            expected.is_confirmed = expected.is_confirmed or row.state == "sent"
            self.require(expected.is_accepted or not expected.is_confirmed, f"marked as sent, but not accepted: {row}")
            expected.is_dead = row.state == "dead"
            expected.is_skipped = row.state == "skipped"
            expected.last_state = expected.last_state if row.state == "sending" else row.state

    def read_outbox(self) -> Iterator[Row]:
        path = self.box.home.outbox
        if not path.exists():
            return
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
            found = connection.execute(
                "SELECT n.id, n.seq, n.event_key, n.entity, e.kind, e.occurrence, n.recipient, n.bundle, n.state,"
                " (SELECT count(*) FROM attempts a WHERE a.notification = n.id AND a.outcome = 'unknown')"
                " FROM notifications n JOIN events e ON e.key = n.event_key"
            )
            for each in found:
                id_, seq, key, entity, kind, occurrence, recipient, bundle, state, unknown = each
                yield Row(id_, seq, key, entity, EventKind(kind), occurrence, recipient, bundle, state, unknown)

    @contextlib.contextmanager
    def ledger_on_disk(self) -> Iterator[Ledger]:
        """The ledger as the next process will read it, from a copy of the files."""
        with tempfile.TemporaryDirectory() as copy:
            for path in self.box.home.root.glob("state.json*"):
                if ".damaged-" not in path.name:
                    shutil.copy2(path, copy)
            yield Ledger(Path(copy) / "state.json")

    def update_expected(self) -> None:
        """Update what can still be expected after a loss.

        Rows in the outbox are. Others that the ledger does not have as notified are detected again as long as the
        ledger has its baseline and the tree has the fact. The rest is excused.
        """
        self.record_outbox()
        with self.ledger_on_disk() as ledger:
            has_baseline = bool(ledger.baseline(f"jobs {OWNER}"))
            for expected in self.expected.values():
                if expected.id in self.rows or expected.is_skipped:
                    continue
                if self.is_recorded(ledger, expected):
                    expected.is_excused = expected.is_excused or expected.is_requeued
                    continue
                expected.forget_outcomes()
                expected.is_excused = expected.is_excused or not has_baseline or not self.is_still_in_tree(expected)

    @staticmethod
    def is_recorded(ledger: Ledger, expected: Expected) -> bool:
        label = ledger.label(expected.entity, expected.kind, expected.occurrence)
        return label in ledger.content.notified.get(expected.entity, ())

    def is_still_in_tree(self, expected: Expected) -> bool:
        """Whether the tree still has the fact of the event."""
        if expected.kind is EventKind.PEER_REQUESTED:
            return any(
                expected.entity.endswith(f"/{peer}") and state == "requested" for peer, state in self.peers.items()
            )
        job = next((job for job in self.jobs if job.entity == expected.entity), None)
        if job is None:
            return expected.kind is EventKind.PEER_GRANTED
        if expected.kind in END_KINDS:
            return job.stage == "ended" and job.runs == expected.run
        return job.stage != "deleted"

    # -- what happens in the tree ----------------------------------------------------------------------------------

    def apply_changes(self, changes: Sequence[tuple[str, int]]) -> None:
        for change, number in changes:
            getattr(self, change)(number)
        self.update_expected()  # a fact may be gone that a lost outbox had

    def matching_job(self, number: int, *stages: str, can_reject: bool = False) -> Iterator[KnownJob]:
        """One of the jobs in these stages, if there is any."""
        found = [job for job in self.jobs if job.stage in stages and (job.tree.can_reject or not can_reject)]
        if found:
            yield found[number % len(found)]

    def submit(self, number: int, count: int = 1) -> None:
        for _ in range(min(count, MAX_JOBS - len(self.jobs))):
            job = KnownJob(self.trees[number % 2], f"job{len(self.jobs)}", (ANA, BO)[number // 2 % 2])
            job.tree.submit(job.name, job.submitter)
            self.jobs.append(job)

    def submit_many(self, number: int) -> None:
        self.submit(number, THRESHOLD + 2)

    def approve(self, number: int) -> None:
        for job in self.matching_job(number, "submitted"):
            job.tree.approve(job.name, job.submitter)
            job.stage = "approved"

    def reject(self, number: int) -> None:
        for job in self.matching_job(number, "submitted", can_reject=True):
            job.tree.reject(job.name, job.submitter, reason="no")
            job.stage = "rejected"

    def end(self, number: int) -> None:
        for job in self.matching_job(number, "approved"):
            job.tree.run(job.name, job.submitter, code=number % 2, stderr="oh" if number % 2 else "")
            job.stage = "ended"

    def advance_all(self, number: int) -> None:
        for job in self.jobs:
            if job.stage == "approved":
                job.tree.run(job.name, job.submitter)
                job.stage = "ended"
            elif job.stage == "submitted":
                job.tree.approve(job.name, job.submitter)
                job.stage = "approved"

    def rerun(self, number: int) -> None:
        for job in self.matching_job(number, "ended"):
            job.tree.rerun(job.name, job.submitter)
            job.stage = "approved"
            job.runs += 1

    def delete(self, number: int) -> None:
        for job in self.matching_job(number, "submitted", "approved", "ended", "rejected"):
            job.tree.delete(job.name, job.submitter)
            job.stage = "deleted"

    def change_peer(self, number: int) -> None:
        self.peers[CY] = "granted" if CY in self.peers else "requested"
        asking = [peer for peer, state in self.peers.items() if state == "requested"]
        granted = [peer for peer, state in self.peers.items() if state == "granted"]
        snapshot = {"peer_emails": asking, "approved_peer_emails": granted}
        self.trees[0].disk.write(self.box.snapshot, json.dumps({"snapshot": snapshot}))

    # -- what happens to the worker --------------------------------------------------------------------------------

    # Only two rules, because Hypothesis disables some rules at random.
    @rule(changes=changes, seconds=seconds, scans=st.booleans(), delivers=st.booleans(), answers=answers, kill=kills)
    def pass_time(
        self,
        changes: list[tuple[str, int]],
        seconds: float,
        scans: bool,
        delivers: bool,
        answers: list[str],
        kill: tuple[str, int] | None,
    ) -> None:
        """The tree changes, time passes, the worker scans or delivers or both, and may be killed at any point."""
        self.apply_changes(changes)
        self.box.clock.advance(seconds)
        self.run_worker(answers, kill, scans=scans or not delivers, delivers=delivers)

    @rule(changes=changes, trouble=troubles, answers=answers, kill=kills)
    def cause_trouble(
        self,
        changes: list[tuple[str, int]],
        trouble: tuple[str, Any],
        answers: list[str],
        kill: tuple[str, int] | None,
    ) -> None:
        """Changes are detected; before they are delivered, something fails."""
        self.apply_changes(changes)
        self.box.clock.advance(6)
        self.run_worker([], None, scans=True, delivers=False)
        name, argument = trouble
        getattr(self, name)(argument)
        self.run_worker(answers, kill, scans=True, delivers=True)

    def run_worker(self, answers: list[str], kill: tuple[str, int] | None, *, scans: bool, delivers: bool) -> None:
        self.script = list(answers)
        with self.killable(kill):
            if scans:
                self.app.pipeline.tick(self.box.clock.now, last_scan=self.last_scan)
                self.last_scan = self.box.clock.now
            if delivers:
                self.deliver()
        self.script = []
        self.check_promises()

    def claim_concurrently(self, outcomes: list[str]) -> None:
        """Claim all that can be claimed at once; the next process finds unfinished attempts."""
        now, outbox = self.box.clock.now, self.app.outbox
        claims: list[list[ClaimedNotification]] = []
        while due := claim(outbox, TRANSPORT, now, worker_id="hand", resend=self.resend):
            claims.append(due)
        self.record_outbox()
        taken = [item.id for claim in claims for item in claim]
        assert len(taken) == len(set(taken)), "one notification claimed twice"
        conversations = Counter(
            conversation for claim in claims for conversation in {(item.event.entity, item.recipient) for item in claim}
        )
        assert not [each for each, count in conversations.items() if count > 1], "two attempts in one conversation"
        for message in claims:
            for item in message:
                assert not self.expected[item.id].is_confirmed, f"a confirmed message is sent again: {item}"
                self.require(not self.earlier_unfinished(self.rows[item.id]), f"sent before an earlier one: {item}")
        for message, outcome in zip(claims, [*outcomes, *["left"] * len(claims)], strict=False):
            for item in message:
                self.expected[item.id].deliveries += outcome != "refused"
                self.expected[item.id].has_no_fixed_id = self.expected[item.id].has_no_fixed_id or len(message) > 1
                self.expected[item.id].is_accepted = self.expected[item.id].is_accepted or outcome == "sent"
            if outcome == "sent":
                outbox.queue.mark_sent(message, now)
            elif outcome != "left":
                failure = Failure.UNKNOWN if outcome == "unknown" else Failure.PERMANENT
                outcome_of_attempt = (
                    AttemptOutcome(NotificationState.UNKNOWN, now + 60)
                    if outcome == "unknown"
                    else AttemptOutcome(NotificationState.DEAD)
                )
                outbox.queue.mark_failed(message, now, failure, outcome, outcome_of_attempt)
        self.restart()

    def jump_wall_clock(self, seconds: float) -> None:
        self.box.clock.now += seconds

    def requeue_dead_letters(self, number: int) -> None:
        """Requeue one dead letter or all ids: those that were delivered are not sent again."""
        records = self.app.outbox.dead_letters.all()
        if not records:
            return
        chosen = [record.id for record in records] if number % 2 else [records[number % len(records)].id]
        self.app.outbox.dead_letters.requeue([*chosen, *self.rows] if number % 2 else chosen)
        remaining = {record.id for record in self.app.outbox.dead_letters.all()}
        assert not remaining & set(chosen)
        for record in records:
            if record.id not in remaining:  # the chosen ones and the rest of their digests
                self.expected[record.id].mark_requeued()
        self.record_outbox()

    # -- what is lost ----------------------------------------------------------------------------------------------

    def damage_ledger(self, kind_of_damage: tuple[str, str, float]) -> None:
        """Between two runs; `test_damage` covers a running worker."""
        ledger, copy, fraction = kind_of_damage
        self.close_app()
        damage(self.box.home.state, ledger, fraction)
        damage(self.box.home.state.with_name("state.json.bak"), copy, fraction)
        self.open()

    def lose_outbox(self, kind_of_damage: str) -> None:
        self.close_app()
        for end in ("-wal", "-shm"):
            damage(self.box.home.outbox.with_name(f"outbox.db{end}"), "gone", 0)
        damage(self.box.home.outbox, kind_of_damage, 0)
        self.rows = {}
        self.open()

    def remove_outbox_of_running_worker(self, _how: None) -> None:
        """The worker detects it in its next scan."""
        for path in self.box.home.root.glob("outbox.db*"):
            path.unlink()
        self.update_expected()

    # -- what must hold --------------------------------------------------------------------------------------------

    def check_promises(self) -> None:
        self.record_outbox()
        assert not self.violations, self.violations
        unfinished = {row.id for row in self.rows.values() if row.state in {"pending", "sending", "unknown"}}
        assert not [row for row in self.rows.values() if row.state == "sending"], "claimed by no live process"
        pairs = Counter((row.event_key, row.recipient) for row in self.rows.values())
        assert not [pair for pair, count in pairs.items() if count > 1], "one event twice for one recipient"
        ledger = self.app.ledger
        for expected in self.expected.values():
            is_recorded = self.is_recorded(ledger, expected)
            assert not (is_recorded and expected.id in unfinished and not expected.is_requeued), (
                f"recorded as notified, but is not: {expected}"
            )
            remembered = expected.id in unfinished or (
                expected.id not in self.rows and not is_recorded and self.is_still_in_tree(expected)
            )
            assert expected.is_settled or remembered, f"lost: {expected}"
            if expected.id in self.rows:
                known = self.rows[expected.id].unknown
                assert known >= expected.deliveries - 1, (
                    f"{expected.deliveries} times delivered, {known} unknown: {expected}"
                )

    def recovers_completely(self) -> None:
        """X01: once the server accepts again and messages on hold are requeued, everything is delivered."""
        self.script = []
        for _ in range(12):
            self.box.clock.advance(DAY)
            if not self.resend:
                held = [record.id for record in self.app.outbox.dead_letters.all() if record.state == "unknown"]
                self.app.outbox.dead_letters.requeue(held)
                for each in held:
                    self.expected[each].mark_requeued()
                self.record_outbox()
            self.run_worker([], None, scans=True, delivers=True)
            if all(expected.is_settled for expected in self.expected.values()):
                break
        self.run_worker([], None, scans=True, delivers=True)
        assert [row for row in self.rows.values() if row.state in {"pending", "unknown"}] == []
        assert [expected for expected in self.expected.values() if not expected.is_settled] == []
        assert self.app.ledger.owed() == {}


def damage(path: Path, kind_of_damage: str, fraction: float) -> None:
    """Damage a file if it exists."""
    if kind_of_damage == "kept" or not path.exists():
        return
    content = path.read_bytes()
    if kind_of_damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut": content[: int(len(content) * fraction)], "garbage": b"\x00\xffno\n" * 200}[
                kind_of_damage
            ]
        )


Promises.TestCase.settings = settings(
    max_examples=10 * FUZZ_FACTOR,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# X01, X02: no notification is lost and none that was confirmed is sent again.
TestPromises = Promises.TestCase
