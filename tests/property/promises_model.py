"""The model of `test_promises`: the jobs of the tree, and every notification that was ever found in the outbox."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syftnotify.core.kinds import END_KINDS, EventKind
from syftnotify.core.models import Message
from syftnotify.store.ledger.index import Ledger
from tests.support import ANA, BO, OWNER, Box
from tests.trees import TREES, Disk, Tree

CY = "cy@clinic.example"
THRESHOLD = 4  # single messages to one recipient; the built-in limit would need hundreds of jobs
MAX_JOBS = 10


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


class KnownTree:
    """The jobs and peers that this test made. The methods that take a number are the changes that Hypothesis draws."""

    def __init__(self, box: Box) -> None:
        self.snapshot = box.snapshot
        self.snapshot.parent.mkdir(parents=True)
        self.disk = Disk(box.root, box.clock.time)
        self.trees = [TREES["D"](self.disk), TREES["B4"](self.disk)]
        self.jobs: list[KnownJob] = []
        self.peers: dict[str, str] = {}  # address -> requested or granted

    def grant_scientists(self) -> None:
        for tree in self.trees:
            for scientist in (ANA, BO):
                tree.grant(scientist)

    def contains(self, expected: Expected) -> bool:
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

    def runs_of(self, entity: str) -> int:
        return next((job.runs for job in self.jobs if job.entity == entity), 0)

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
        self.disk.write(self.snapshot, json.dumps({"snapshot": snapshot}))


class Notifications:
    """The notifications that this test knows, compared with the files of the outbox and the ledger."""

    def __init__(self, box: Box, tree: KnownTree) -> None:
        self.home = box.home
        self.tree = tree
        self.expected: dict[str, Expected] = {}
        self.rows: dict[str, Row] = {}
        self.violations: list[str] = []  # found where no exception may be raised
        self.resend = True
        self.max_retries: int | None = None

    @property
    def claimable(self) -> set[str]:
        return {"pending", "unknown"} if self.resend else {"pending"}

    def rows_in(self, *states: str) -> list[Row]:
        return [row for row in self.rows.values() if row.state in states]

    def earlier_unfinished(self, row: Row) -> list[Row]:
        """Earlier unfinished rows about the same entity to the same recipient, outside its own bundle."""
        return [
            other
            for other in self.rows_in("sending", *self.claimable)
            if (other.entity, other.recipient) == (row.entity, row.recipient)
            and other.seq < row.seq
            and (not row.bundle or other.bundle != row.bundle)
        ]

    def require(self, holds: bool, promise: str) -> None:
        if not holds:
            self.violations.append(promise)

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
        for row in self.rows_in(*self.claimable):
            if row.bundle in digests:
                self.require(bool(self.earlier_unfinished(row)), f"left out of its digest: {row}")

    def record_outbox(self) -> None:
        """Read the outbox as another program would; new rows are expected from now on."""
        self.rows = {row.id: row for row in read_outbox(self.home.outbox)}
        for row in self.rows.values():
            if row.id not in self.expected:
                run = self.tree.runs_of(row.entity)
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

    def update_after_loss(self) -> None:
        """Update what can still be expected after a loss.

        Rows in the outbox are. Others that the ledger does not have as notified are detected again as long as the
        ledger has its baseline and the tree has the fact. The rest is excused.
        """
        self.record_outbox()
        with ledger_on_disk(self.home.root) as ledger:
            has_baseline = bool(ledger.baseline(f"jobs {OWNER}"))
            for expected in self.expected.values():
                if expected.id in self.rows or expected.is_skipped:
                    continue
                if is_recorded(ledger, expected):
                    expected.is_excused = expected.is_excused or expected.is_requeued
                    continue
                expected.forget_outcomes()
                expected.is_excused = expected.is_excused or not has_baseline or not self.tree.contains(expected)


def read_outbox(path: Path) -> Iterator[Row]:
    """Every notification in the database, if there is one."""
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
def ledger_on_disk(home: Path) -> Iterator[Ledger]:
    """The ledger as the next process will read it, from a copy of the files."""
    with tempfile.TemporaryDirectory() as copy:
        for path in home.glob("state.json*"):
            if ".damaged-" not in path.name:
                shutil.copy2(path, copy)
        yield Ledger(Path(copy) / "state.json")


def is_recorded(ledger: Ledger, expected: Expected) -> bool:
    """Whether the ledger has the event as notified."""
    label = ledger.label(expected.entity, expected.kind, expected.occurrence)
    return label in ledger.content.notified.get(expected.entity, ())
