"""Every promise at once: a worker that lives through crashes, losses, refusals, storms and clocks that jump.

A real tree, a real ledger, a real outbox. What the transport says, where the process is killed and which file is lost
is drawn. What is owed is what was ever put into the outbox; it is taken down here at the moment it was put, and asked
about ever after.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import END_KINDS, Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, NotificationState, Receipt
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
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import failpoints
from tests.support import ANA, BO, OWNER, THOROUGH, Box, Clock, claim, tally
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.fire

CY = "cy@clinic.example"
HOUR, DAY = 3600.0, 86400.0
STORM = 4  # single messages to one recipient; the built-in limit would need hundreds of jobs
MOST_JOBS = 10
TRANSPORT = "box"
# Made once: compiling the templates costs more than everything else here.
RENDERER = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())

# What the other side does with one message. `lost` and `arrived` are both of unknown outcome to us.
# GONE is an endpoint's word; no mail server says it.
ANSWERS = ["sent", "lost", "arrived", "breaks", *(failure.value for failure in Failure)]
ANSWERS = [answer for answer in ANSWERS if answer not in {Failure.UNKNOWN, Failure.GONE}]
ANSWERS += ["lost", "arrived", "not_now", "not_now", "refused"]
# Where a look or a delivery can be cut off; the others belong to the start of a process or to another transport.
POINTS = sorted(failpoints.POINTS - {"worker.locked", "smtp.dot"})
SPOILED = ["kept", "gone", "empty", "cut", "garbage"]

numbers = st.integers(0, 99)
HAPPENINGS = [
    *["submits", "submits", "submits_many", "approves", "rejects", "ends", "ends", "moves_all_on", "runs_again"],
    *["deletes", "knows_a_peer"],
]
news = st.lists(st.tuples(st.sampled_from(HAPPENINGS), numbers), max_size=3)
seconds = st.sampled_from([1.0, 6.0, 61.0, 301.0, 601.0, HOUR + 1, HOUR + 1, 3 * HOUR, DAY, 4 * DAY])
# Now this, now that; or the same to everybody, for a day that is worth remembering.
answers = st.lists(st.sampled_from(ANSWERS), max_size=6) | st.sampled_from(ANSWERS).map(lambda answer: [answer] * 9)
deaths = st.none() | st.tuples(st.sampled_from(POINTS), st.sampled_from([1, 1, 2, 3]))
hands = st.tuples(
    st.just("many_hands_claim_at_once"), st.lists(st.sampled_from(["sent", "unknown", "refused", "left"]), max_size=6)
)
jumps = st.tuples(
    st.just("the_wall_clock_jumps"), st.sampled_from([-5 * DAY, -DAY, -HOUR, -30.0, -1.0, 90.0, DAY, 5 * DAY])
)
revivals = st.tuples(st.just("an_operator_revives"), numbers)
damages = st.tuples(
    st.just("the_ledger_is_damaged"),
    st.tuples(st.sampled_from(SPOILED), st.sampled_from(["kept", "kept", *SPOILED]), st.sampled_from([0.1, 0.5, 0.99])),
)
losses = st.tuples(st.just("the_outbox_is_lost"), st.sampled_from(["gone", "empty", "garbage"]))
removals = st.tuples(st.just("the_outbox_is_removed_under_the_worker"), st.none())
# Some troubles wipe out what came before them, so they are rarer.
troubles = st.one_of(hands, hands, hands, jumps, jumps, revivals, revivals, damages, damages, losses, removals)


class Killed(BaseException):
    """SIGKILL: no line after this one runs."""


@dataclass(slots=True)
class Owed:
    """One notification that was written down: who must hear of what."""

    id: str
    event_key: str
    entity: str
    kind: EventKind
    occurrence: str
    recipient: str
    run: int  # which run of its job it tells the end of
    is_confirmed: bool = False  # the other side took it, and the outbox knows
    is_dead: bool = False
    is_skipped: bool = False
    is_revived: bool = False  # a person said: once more; only the outbox knows
    is_nameless: bool = False  # nobody knows, or need know, under which name it may have arrived
    is_excused: bool = False  # every trace of it was lost at once, or its outbox and its fact
    is_taken: bool = False  # the other side said that it took it
    is_refused: bool = False  # the other side said: never
    handed_over: int = 0  # how often the other side may have taken it, as far as this outbox can know
    not_now: int = 0
    rested_as: str = "pending"  # its state before the attempt that is under way
    left_as: str = ""  # the id of the message that may have arrived

    @property
    def is_settled(self) -> bool:
        return self.is_confirmed or self.is_dead or self.is_skipped or self.is_excused

    def revive(self) -> None:
        self.is_dead, self.is_refused, self.not_now, self.left_as = False, False, 0, ""
        self.is_revived = self.is_nameless = True

    def forget(self) -> None:
        """The outbox that knew its story is lost; it may be told once more."""
        self.is_confirmed = self.is_dead = self.is_refused = self.is_revived = self.is_nameless = False
        self.handed_over = self.not_now = 0
        self.left_as = ""


@dataclass(slots=True)
class Known:
    """A job, as this test made it."""

    tree: Tree
    name: str
    by: str
    stage: str = "submitted"  # approved, ended, rejected, deleted
    runs: int = 0

    @property
    def entity(self) -> str:
        return self.tree.entity(self.name, self.by)


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
    """The worker of one home, with its tree, its other side, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        # Processes are killed here, and no power is cut: a disk in memory will do where there is one.
        self.folder = Path(tempfile.mkdtemp(prefix="promises-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.box = Box(self.folder)
        self.box.root.mkdir()
        self.box.configure()
        self.settings = load(self.box.home)
        self.box.snapshot.parent.mkdir(parents=True)
        disk = Disk(self.box.root, self.box.clock.time)
        self.trees = [TREES["D"](disk), TREES["B4"](disk)]
        self.jobs: list[Known] = []
        self.peers: dict[str, str] = {}  # address -> requested or granted
        self.owed: dict[str, Owed] = {}
        self.rows: dict[str, Row] = {}
        self.broken: list[str] = []  # promises, noticed where nothing may be raised
        self.script: list[str] = []
        self.death: tuple[str, int] | None = None
        self.is_killed = False
        self.last_look: float | None = None
        self.rejected: set[str] = set()  # messages that were refused since the last that was taken
        self.resends = True
        self.max_retries: int | None = None
        self.parts: App
        self.dispatcher: Dispatcher
        failpoints.on_reach = self.on_reach

    def teardown(self) -> None:
        try:
            if hasattr(self, "dispatcher") and not self.broken:
                self.everything_is_well_again()
        finally:
            failpoints.on_reach = None
            if hasattr(self, "dispatcher"):
                self.drop()
            shutil.rmtree(self.folder)

    @initialize(resends=st.booleans(), max_retries=st.sampled_from([None, 0, 2]))
    def a_home_that_has_looked_once(self, resends: bool, max_retries: int | None) -> None:
        self.resends, self.max_retries = resends, max_retries
        for tree in self.trees:
            for scientist in (ANA, BO):
                tree.grant(scientist)
        self.open()
        self.work([], None, looks=True, delivers=True)

    # -- the worker ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """A new process: everything is read from disk, and what the last one left behind is unknown."""
        self.is_killed, self.death, self.rejected = False, None, set()
        self.parts = build_app(self.settings, clock=self.box.clock.time, monotonic=self.box.clock.monotonic)
        options = QueueOptions(max_retries=self.max_retries, resend_unknown=self.resends)
        # One attempt at a time, so that the same draws give the same story.
        self.dispatcher = Dispatcher(
            self.parts.outbox,
            [TransportQueue(TRANSPORT, self, RENDERER, options)],
            worker_id="test",
            max_concurrent=1,
            throttle_rules=(ThrottleRule(threshold=STORM),),
            clock=self.box.clock.time,
            monotonic=self.box.clock.monotonic,
        )
        self.parts.outbox.queue.recover(self.box.clock.now)
        self.reckon()

    def drop(self) -> None:
        """The process is gone, and its memory with it."""
        self.dispatcher.stop(seconds=5)
        self.parts.close()

    def restart(self) -> None:
        self.drop()
        self.open()

    @contextlib.contextmanager
    def mortal(self, death: tuple[str, int] | None) -> Iterator[None]:
        """Work that ends where `death` says, if it comes there; then another process goes on."""
        self.death = death
        with contextlib.suppress(Killed):
            yield
        self.death = None
        if self.is_killed:
            note(f"killed at {death}")
            self.restart()

    def deliver(self) -> None:
        self.dispatcher.drain()
        if self.is_killed:  # in the thread of an attempt
            raise Killed
        self.parts.pipeline.sync_ledger()

    def on_reach(self, point: str) -> None:
        if self.is_killed:
            raise Killed
        if point in {"outbox.enqueued", "attempt.recorded"}:
            self.take_down()
        if self.death and point == self.death[0]:
            self.death = (point, self.death[1] - 1)
            if not self.death[1]:
                self.is_killed = True
                self.dispatcher._outcomes._unsaved.clear()  # a kill leaves no memory
                self.dispatcher.stop(seconds=0)  # and ends every thread
                raise Killed

    # -- the other side: a Transport -------------------------------------------------------------------------------

    def check(self) -> None:
        """Signing in alone always works."""

    def close(self) -> None:
        """Nothing is kept."""

    def send(self, message: Message) -> Receipt:
        if self.is_killed:
            raise Killed
        self.take_down()
        sending = [row for row in self.rows.values() if row.state == "sending"]
        self.judge(message, sending)
        answer = self.script.pop(0) if self.script else "sent"
        if answer == "sent":
            self.rejected = set()
        elif answer == Failure.PERMANENT:
            self.rejected.add(message.id)
        for row in sending:
            owed = self.owed[row.id]
            if answer in {"sent", "arrived", "breaks"}:
                owed.handed_over += 1
            if answer in {"sent", "arrived", "breaks", "lost"}:
                owed.left_as = "" if owed.is_nameless else message.id
            owed.not_now += answer == Failure.TEMPORARY
            owed.is_taken = owed.is_taken or answer == "sent"
            # From the third in a row on, the transport is at fault and not the message, which may be kept.
            owed.is_refused = answer == Failure.PERMANENT and len(self.rejected) < 3
        if answer == "breaks":
            raise RuntimeError("nobody expected this")
        if answer != "sent":
            raise DeliveryError(Failure.UNKNOWN if answer in {"lost", "arrived"} else Failure(answer), answer)
        return Receipt("taken", "thread")

    def judge(self, message: Message, sending: Sequence[Row]) -> None:
        """What must hold at the moment in which a message goes out."""
        self.demand(bool(sending), "a message that no attempt was written down for")
        self.demand({row.recipient for row in sending} == {message.recipient}, "a message to somebody else")
        self.demand(len({row.bundle for row in sending}) == 1, "two messages claimed at once")
        for row in sending:
            owed = self.owed[row.id]
            self.demand(not owed.is_confirmed, f"what was confirmed was sent again: {row}")
            self.demand(not owed.is_dead, f"a dead letter was sent again: {row}")
            self.demand(not owed.is_refused, f"what was refused was sent again: {row}")
            self.demand(bool(row.bundle) or message.id == row.id, f"a single message under another id: {row}")
            self.demand(owed.left_as in {"", message.id}, f"sent again under another id: {row}")
            limit = None if self.max_retries is None else self.max_retries + 1
            self.demand(limit is None or owed.not_now < limit, f"more attempts than allowed: {row}")
            self.demand(self.resends or owed.rested_as != "unknown", f"what is held went out by itself: {row}")
            self.demand(not self.held_up_by(row), f"overtakes another: {row}")
        digests = {row.bundle for row in sending} - {""}
        for row in self.rows.values():
            if row.bundle in digests and row.state in self.claimable:
                self.demand(bool(self.held_up_by(row)), f"left behind by its digest: {row}")

    @property
    def claimable(self) -> set[str]:
        return {"pending", "unknown"} if self.resends else {"pending"}

    def held_up_by(self, row: Row) -> list[Row]:
        """What is earlier in the conversation and not finished, its own bundle aside."""
        return [
            other
            for other in self.rows.values()
            if (other.entity, other.recipient) == (row.entity, row.recipient)
            and other.seq < row.seq
            and other.state in {"sending", *self.claimable}
            and (not row.bundle or other.bundle != row.bundle)
        ]

    def demand(self, holds: bool, promise: str) -> None:
        if not holds:
            self.broken.append(promise)

    # -- what is on disk -------------------------------------------------------------------------------------------

    def take_down(self) -> None:
        """Read the outbox as another program would; what is new there is owed from now on."""
        self.rows = {row.id: row for row in self.read_outbox()}
        for row in self.rows.values():
            if row.id not in self.owed:
                run = next((job.runs for job in self.jobs if job.entity == row.entity), 0)
                self.owed[row.id] = Owed(
                    row.id, row.event_key, row.entity, row.kind, row.occurrence, row.recipient, run
                )
            owed = self.owed[row.id]
            if owed.is_excused and row.state in {"pending", "sending", "unknown"}:
                owed.is_excused = False  # noticed again after all
            owed.is_confirmed = owed.is_confirmed or row.state == "sent"
            self.demand(owed.is_taken or not owed.is_confirmed, f"counts as sent, and nobody took it: {row}")
            owed.is_dead = row.state == "dead"
            owed.is_skipped = row.state == "skipped"
            owed.rested_as = owed.rested_as if row.state == "sending" else row.state

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
        """What the next process will read as the ledger; the files stay as they are."""
        with tempfile.TemporaryDirectory() as copy:
            for path in self.box.home.root.glob("state.json*"):
                if ".damaged-" not in path.name:
                    shutil.copy2(path, copy)
            yield Ledger(Path(copy) / "state.json")

    def reckon(self) -> None:
        """After something was lost: what can still be known to be owed?

        What is in the outbox is. What is not, and is not told by the ledger either, is noticed again as long as the
        ledger knows of its first look and the tree still says so. Nothing can be asked of the rest.
        """
        self.take_down()
        with self.ledger_on_disk() as ledger:
            has_looked = bool(ledger.baseline(f"jobs {OWNER}"))
            for owed in self.owed.values():
                if owed.id in self.rows or owed.is_skipped:
                    continue
                if self.is_told(ledger, owed):
                    owed.is_excused = owed.is_excused or owed.is_revived
                    continue
                owed.forget()
                owed.is_excused = owed.is_excused or not has_looked or not self.is_true(owed)

    @staticmethod
    def is_told(ledger: Ledger, owed: Owed) -> bool:
        label = ledger.label(owed.entity, owed.kind, owed.occurrence)
        return label in ledger.content.notified.get(owed.entity, ())

    def is_true(self, owed: Owed) -> bool:
        """Whether the tree still says what is owed."""
        if owed.kind is EventKind.PEER_REQUESTED:
            return any(owed.entity.endswith(f"/{peer}") and state == "requested" for peer, state in self.peers.items())
        job = next((job for job in self.jobs if job.entity == owed.entity), None)
        if job is None:
            return owed.kind is EventKind.PEER_GRANTED
        if owed.kind in END_KINDS:
            return job.stage == "ended" and job.runs == owed.run
        return job.stage != "deleted"

    # -- what happens in the tree ----------------------------------------------------------------------------------

    def happen(self, news: Sequence[tuple[str, int]]) -> None:
        for what, number in news:
            getattr(self, what)(number)
        self.reckon()  # a fact may have gone that an outbox forgot

    def some(self, number: int, *stages: str, can_reject: bool = False) -> Iterator[Known]:
        """One of the jobs that stand so, if there is any."""
        found = [job for job in self.jobs if job.stage in stages and (job.tree.can_reject or not can_reject)]
        if found:
            yield found[number % len(found)]

    def submits(self, number: int, count: int = 1) -> None:
        for _ in range(min(count, MOST_JOBS - len(self.jobs))):
            job = Known(self.trees[number % 2], f"job{len(self.jobs)}", (ANA, BO)[number // 2 % 2])
            job.tree.submit(job.name, job.by)
            self.jobs.append(job)

    def submits_many(self, number: int) -> None:
        self.submits(number, STORM + 2)

    def approves(self, number: int) -> None:
        for job in self.some(number, "submitted"):
            job.tree.approve(job.name, job.by)
            job.stage = "approved"

    def rejects(self, number: int) -> None:
        for job in self.some(number, "submitted", can_reject=True):
            job.tree.reject(job.name, job.by, reason="no")
            job.stage = "rejected"

    def ends(self, number: int) -> None:
        for job in self.some(number, "approved"):
            job.tree.run(job.name, job.by, code=number % 2, stderr="oh" if number % 2 else "")
            job.stage = "ended"

    def moves_all_on(self, number: int) -> None:
        for job in self.jobs:
            if job.stage == "approved":
                job.tree.run(job.name, job.by)
                job.stage = "ended"
            elif job.stage == "submitted":
                job.tree.approve(job.name, job.by)
                job.stage = "approved"

    def runs_again(self, number: int) -> None:
        for job in self.some(number, "ended"):
            job.tree.rerun(job.name, job.by)
            job.stage = "approved"
            job.runs += 1

    def deletes(self, number: int) -> None:
        for job in self.some(number, "submitted", "approved", "ended", "rejected"):
            job.tree.delete(job.name, job.by)
            job.stage = "deleted"

    def knows_a_peer(self, number: int) -> None:
        self.peers[CY] = "granted" if CY in self.peers else "requested"
        asking = [peer for peer, state in self.peers.items() if state == "requested"]
        granted = [peer for peer, state in self.peers.items() if state == "granted"]
        snapshot = {"peer_emails": asking, "approved_peer_emails": granted}
        self.trees[0].disk.write(self.box.snapshot, json.dumps({"snapshot": snapshot}))

    # -- what happens to the worker --------------------------------------------------------------------------------

    # Two rules alone: Hypothesis leaves rules out at random, and a story without one of many would be none.
    @rule(news=news, seconds=seconds, looks=st.booleans(), delivers=st.booleans(), answers=answers, death=deaths)
    def a_while_goes_by(
        self,
        news: list[tuple[str, int]],
        seconds: float,
        looks: bool,
        delivers: bool,
        answers: list[str],
        death: tuple[str, int] | None,
    ) -> None:
        """Things happen, time passes, the worker looks or delivers, or both, and may be killed in the middle of it."""
        self.happen(news)
        self.box.clock.advance(seconds)
        self.work(answers, death, looks=looks or not delivers, delivers=delivers)

    @rule(news=news, trouble=troubles, answers=answers, death=deaths)
    def trouble_comes(
        self,
        news: list[tuple[str, int]],
        trouble: tuple[str, Any],
        answers: list[str],
        death: tuple[str, int] | None,
    ) -> None:
        """Something is noticed; before it is delivered, trouble comes."""
        self.happen(news)
        self.box.clock.advance(6)
        self.work([], None, looks=True, delivers=False)
        name, argument = trouble
        getattr(self, name)(argument)
        self.work(answers, death, looks=True, delivers=True)

    def work(self, answers: list[str], death: tuple[str, int] | None, *, looks: bool, delivers: bool) -> None:
        self.script = list(answers)
        with self.mortal(death):
            if looks:
                self.parts.pipeline.tick(self.box.clock.now, last_scan=self.last_look)
                self.last_look = self.box.clock.now
            if delivers:
                self.deliver()
        self.script = []
        self.every_promise_holds()

    def many_hands_claim_at_once(self, outcomes: list[str]) -> None:
        """As many attempts under way as there can be; what is left is found by the next process."""
        now, outbox = self.box.clock.now, self.parts.outbox
        claims: list[list[ClaimedNotification]] = []
        while due := claim(outbox, TRANSPORT, now, worker_id="hand", resend=self.resends):
            claims.append(due)
        self.take_down()
        taken = [item.id for claim in claims for item in claim]
        assert len(taken) == len(set(taken)), "one notification claimed twice"
        conversations = Counter(
            conversation for claim in claims for conversation in {(item.event.entity, item.recipient) for item in claim}
        )
        assert not [each for each, count in conversations.items() if count > 1], "two attempts in one conversation"
        for message in claims:
            for item in message:
                assert not self.owed[item.id].is_confirmed, f"what was confirmed is sent again: {item}"
                self.demand(not self.held_up_by(self.rows[item.id]), f"overtakes another: {item}")
        for message, outcome in zip(claims, [*outcomes, *["left"] * len(claims)], strict=False):
            for item in message:
                self.owed[item.id].handed_over += outcome != "refused"
                self.owed[item.id].is_nameless = self.owed[item.id].is_nameless or len(message) > 1
                self.owed[item.id].is_taken = self.owed[item.id].is_taken or outcome == "sent"
            if outcome == "sent":
                outbox.queue.mark_sent(message, now)
            elif outcome != "left":
                failure = Failure.UNKNOWN if outcome == "unknown" else Failure.PERMANENT
                verdict = (
                    AttemptOutcome(NotificationState.UNKNOWN, now + 60)
                    if outcome == "unknown"
                    else AttemptOutcome(NotificationState.DEAD)
                )
                outbox.queue.mark_failed(message, now, failure, outcome, verdict)
        self.restart()

    def the_wall_clock_jumps(self, seconds: float) -> None:
        self.box.clock.now += seconds

    def an_operator_revives(self, number: int) -> None:
        """One letter, or everything that has a name: who was served is not served again."""
        letters = self.parts.outbox.dead_letters.all()
        if not letters:
            return
        chosen = [letter.id for letter in letters] if number % 2 else [letters[number % len(letters)].id]
        self.parts.outbox.dead_letters.requeue([*chosen, *self.rows] if number % 2 else chosen)
        left = {letter.id for letter in self.parts.outbox.dead_letters.all()}
        assert not left & set(chosen)
        for letter in letters:
            if letter.id not in left:  # what was chosen, and what left together with it
                self.owed[letter.id].revive()
        self.take_down()

    # -- what is lost ----------------------------------------------------------------------------------------------

    def the_ledger_is_damaged(self, how: tuple[str, str, float]) -> None:
        """Between two runs; `test_damage` tells what a running worker makes of it."""
        ledger, copy, part = how
        self.drop()
        spoil(self.box.home.state, ledger, part)
        spoil(self.box.home.state.with_name("state.json.bak"), copy, part)
        self.open()

    def the_outbox_is_lost(self, how: str) -> None:
        self.drop()
        for end in ("-wal", "-shm"):
            spoil(self.box.home.outbox.with_name(f"outbox.db{end}"), "gone", 0)
        spoil(self.box.home.outbox, how, 0)
        self.rows = {}
        self.open()

    def the_outbox_is_removed_under_the_worker(self, _how: None) -> None:
        """The worker notices at its next look."""
        for path in self.box.home.root.glob("outbox.db*"):
            path.unlink()
        self.reckon()

    # -- what must hold --------------------------------------------------------------------------------------------

    def every_promise_holds(self) -> None:
        self.take_down()
        assert not self.broken, self.broken
        unfinished = {row.id for row in self.rows.values() if row.state in {"pending", "sending", "unknown"}}
        assert not [row for row in self.rows.values() if row.state == "sending"], "claimed by nobody who lives"
        pairs = Counter((row.event_key, row.recipient) for row in self.rows.values())
        assert not [pair for pair, count in pairs.items() if count > 1], "one event twice for one recipient"
        ledger = self.parts.ledger
        for owed in self.owed.values():
            told = self.is_told(ledger, owed)
            assert not (told and owed.id in unfinished and not owed.is_revived), f"counts as told, and is not: {owed}"
            remembered = owed.id in unfinished or (owed.id not in self.rows and not told and self.is_true(owed))
            assert owed.is_settled or remembered, f"forgotten: {owed}"
            if owed.id in self.rows:
                known = self.rows[owed.id].unknown
                assert known >= owed.handed_over - 1, f"{owed.handed_over} times handed over, {known} unknown: {owed}"

    def everything_is_well_again(self) -> None:
        """X01: the other side answers, time passes, people answer what only they can: then everything is told."""
        self.script = []
        for _ in range(12):
            self.box.clock.advance(DAY)
            if not self.resends:
                held = [letter.id for letter in self.parts.outbox.dead_letters.all() if letter.state == "unknown"]
                self.parts.outbox.dead_letters.requeue(held)
                for each in held:
                    self.owed[each].revive()
                self.take_down()
            self.work([], None, looks=True, delivers=True)
            if all(owed.is_settled for owed in self.owed.values()):
                break
        self.work([], None, looks=True, delivers=True)
        assert [row for row in self.rows.values() if row.state in {"pending", "unknown"}] == []
        assert [owed for owed in self.owed.values() if not owed.is_settled] == []
        assert self.parts.ledger.owed() == {}


def spoil(path: Path, how: str, part: float) -> None:
    """Damage a file; one that is not there stays so."""
    if how == "kept" or not path.exists():
        return
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut": content[: int(len(content) * part)], "garbage": b"\x00\xffno\n" * 200}[how]
        )


Promises.TestCase.settings = settings(
    max_examples=10 * THOROUGH,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# X01, X02: nothing owed is lost and nothing confirmed repeated, whatever happens in whatever order.
TestPromises = Promises.TestCase


class Scripted:
    """The other side of a story that is told by hand: fails as often as it is told to."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.failures: list[DeliveryError] = []

    def check(self) -> None:
        """Signing in alone always works."""

    def close(self) -> None:
        """Nothing is kept."""

    def send(self, message: Message) -> Receipt:
        self.got.append(message)
        if self.failures:
            raise self.failures.pop(0)
        return Receipt("taken")


def about(number: int, kind: EventKind, *, bundle: str = "") -> tuple[Event, Notification]:
    event = Event(kind, f"job/D/o/a/{number}", "T", "", {"name": f"job {number}", "submitter": ANA})
    return event, Notification(event.key, event.entity, OWNER, Audience.OWNER, TRANSPORT, bundle=bundle)


def test_a_digest_that_may_have_arrived_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """X03: also when one more thing was meant to be in it, and was held up by an earlier mail about the same job."""
    clock, scripted = Clock(), Scripted()
    later = datetime.fromtimestamp(clock.now + 3000, UTC)
    with contextlib.closing(SqliteOutbox(tmp_path / "outbox.db")) as outbox:
        dispatcher = Dispatcher(
            outbox,
            [TransportQueue(TRANSPORT, scripted, RENDERER)],
            worker_id="test",
            max_concurrent=1,
            clock=clock.time,
            monotonic=clock.monotonic,
        )
        earlier, single = about(1, EventKind.JOB_SUBMITTED)
        outbox.enqueue([earlier], [single], clock.now)
        scripted.failures = [DeliveryError(Failure.TEMPORARY, "later", not_before=later)]
        dispatcher.drain()
        news = [about(number, EventKind.JOB_COMPLETED, bundle="bundle-x") for number in range(1, 7)]
        outbox.enqueue([event for event, _ in news], [item for _, item in news], clock.now)
        scripted.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
        dispatcher.drain()
        for _ in range(3):
            clock.advance(3700)
            dispatcher.drain()
        dispatcher.stop()

        assert outbox.history.counts() == tally(sent=3, notifications=7, unknown=5)
    digests = Counter(message.id for message in scripted.got if message.subject.startswith("SyftBox: "))
    arrived = [entity for message in scripted.got if message.id in digests for entity in entities_of(message)]
    assert max(digests.values()) == 2, "the one that may have arrived, under its own name"
    assert Counter(arrived) == Counter({**{f"job/D/o/a/{number}": 2 for number in range(2, 7)}, "job/D/o/a/1": 1})


def entities_of(message: Message) -> list[str]:
    return [value for name, value in message.headers if name == "X-SyftNotify-Entity"]
