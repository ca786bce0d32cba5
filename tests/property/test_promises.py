"""All promises at once, in a worker that is killed and restarted.

The tree, the ledger and the outbox are real. Hypothesis draws the answers of the transport, the points of kills, the
lost files and the jumps of the clock. Every notification that is ever found in the outbox is recorded in the model,
and must be accounted for from then on.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syftnotify.core.errors import Failure
from syftnotify.system import failpoints
from tests.property.promises_model import KnownTree, Notifications, is_recorded
from tests.property.promises_worker import KillableWorker
from tests.support import FUZZ_FACTOR, Box

pytestmark = pytest.mark.thorough

HOUR, DAY = 3600.0, 86400.0
# The fate of one message. No mail server answers GONE.
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
outbox_losses = st.tuples(st.just("delete_outbox"), st.sampled_from(["gone", "empty", "garbage"]))
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


class Promises(RuleBasedStateMachine):
    """The worker of one home, its tree, and what can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        # Kills lose no written data, so a memory file system suffices where there is one.
        self.folder = Path(tempfile.mkdtemp(prefix="promises-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.box = Box(self.folder)
        self.box.root.mkdir()
        self.box.configure()
        self.tree = KnownTree(self.box)
        self.known = Notifications(self.box, self.tree)
        self.worker: KillableWorker

    def teardown(self) -> None:
        try:
            if hasattr(self, "worker") and not self.known.violations:
                self.recovers_completely()
        finally:
            failpoints.on_reach = None
            if hasattr(self, "worker"):
                self.worker.close()
            shutil.rmtree(self.folder)

    @initialize(resends=st.booleans(), max_retries=st.sampled_from([None, 0, 2]))
    def scan_once(self, resends: bool, max_retries: int | None) -> None:
        self.known.resend, self.known.max_retries = resends, max_retries
        self.tree.grant_scientists()
        self.worker = KillableWorker(self.box, self.known)
        failpoints.on_reach = self.worker.on_reach
        self.run_worker([], None, scans=True, delivers=True)

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
        getattr(self.worker, name)(argument)
        self.run_worker(answers, kill, scans=True, delivers=True)

    def apply_changes(self, changes: Sequence[tuple[str, int]]) -> None:
        for change, number in changes:
            getattr(self.tree, change)(number)
        self.known.update_after_loss()  # a fact may be gone that a lost outbox had

    def run_worker(self, answers: list[str], kill: tuple[str, int] | None, *, scans: bool, delivers: bool) -> None:
        self.worker.run(answers, kill, scans=scans, delivers=delivers)
        self.check_promises()

    def check_promises(self) -> None:
        self.known.record_outbox()
        rows, expected_ones = self.known.rows, self.known.expected.values()
        assert not self.known.violations, self.known.violations
        unfinished = {row.id for row in self.known.rows_in("pending", "sending", "unknown")}
        assert not self.known.rows_in("sending"), "claimed by no live process"
        pairs = Counter((row.event_key, row.recipient) for row in rows.values())
        assert not [pair for pair, count in pairs.items() if count > 1], "one event twice for one recipient"
        for expected in expected_ones:
            is_notified = is_recorded(self.worker.app.ledger, expected)
            assert not (is_notified and expected.id in unfinished and not expected.is_requeued), (
                f"recorded as notified, but is not: {expected}"
            )
            remembered = expected.id in unfinished or (
                expected.id not in rows and not is_notified and self.tree.contains(expected)
            )
            assert expected.is_settled or remembered, f"lost: {expected}"
            if expected.id in rows:
                unknown = rows[expected.id].unknown
                assert unknown >= expected.deliveries - 1, (
                    f"{expected.deliveries} times delivered, {unknown} unknown: {expected}"
                )

    def recovers_completely(self) -> None:
        """X01: once the server accepts again and messages on hold are requeued, everything is delivered."""
        for _ in range(12):
            self.box.clock.advance(DAY)
            if not self.known.resend:
                self.worker.requeue_held()
            self.run_worker([], None, scans=True, delivers=True)
            if all(expected.is_settled for expected in self.known.expected.values()):
                break
        self.run_worker([], None, scans=True, delivers=True)
        assert self.known.rows_in("pending", "unknown") == []
        assert [expected for expected in self.known.expected.values() if not expected.is_settled] == []
        assert self.worker.app.ledger.owed() == {}


Promises.TestCase.settings = settings(
    max_examples=10 * FUZZ_FACTOR,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# X01, X02: no notification is lost and none that was confirmed is sent again.
TestPromises = Promises.TestCase
