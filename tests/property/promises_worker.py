"""The worker of `test_promises`: it can be killed at any fail-point, and a script decides the fate of its messages."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import note

from syftnotify.core.errors import DeliveryError, Failure
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
from tests.property.promises_model import THRESHOLD, Notifications
from tests.support import OWNER, Box, claim, wait_until

TRANSPORT = "box"
# Made once: compiling the templates costs more than everything else here.
RENDERER = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())


class Killed(BaseException):
    """SIGKILL: no code runs after this."""


class ScriptedTransport:
    """Takes the answers to messages from `script`, and accepts all messages after its end.

    `lost` and `arrived` both have an unknown outcome.
    """

    def __init__(self, notifications: Notifications, *, has_unsaved: Callable[[], bool]) -> None:
        """`has_unsaved` returns whether an earlier attempt has ended and its outcome is not saved yet."""
        self.notifications = notifications
        self.has_unsaved = has_unsaved
        self.script: list[str] = []
        self.rejected: set[str] = set()  # ids rejected since the last accepted message
        self.is_killed = False

    def check(self) -> None:
        """The sign-in always works."""

    def close(self) -> None:
        """Nothing to close."""

    def send(self, message: Message) -> Receipt:
        # The dispatcher may start an attempt before it saves the outcome of the last one; until then the rows of both
        # are stored as being sent.
        wait_until(lambda: self.is_killed or not self.has_unsaved(), what="the last outcome is saved")
        if self.is_killed:
            raise Killed
        self.notifications.record_outbox()
        sending = self.notifications.rows_in("sending")
        self.notifications.check_message(message, sending)
        answer = self.script.pop(0) if self.script else "sent"
        if answer == "sent":
            self.rejected = set()
        elif answer == Failure.PERMANENT:
            self.rejected.add(message.id)
        for row in sending:
            expected = self.notifications.expected[row.id]
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


class KillableWorker:
    """The worker of one home. Its troubles are the methods that Hypothesis draws by name."""

    def __init__(self, box: Box, notifications: Notifications) -> None:
        self.box = box
        self.notifications = notifications
        self.settings = load(box.home)
        self.kill: tuple[str, int] | None = None  # a fail-point, and at which time that it is reached
        self.last_scan: float | None = None
        self.open()

    def open(self) -> None:
        """Start a process: it reads everything from disk, and messages found sending have an unknown outcome."""
        self.kill = None
        self.transport = ScriptedTransport(
            self.notifications, has_unsaved=lambda: self.dispatcher._outcomes.has_unsaved
        )
        self.app: App = build_app(self.settings, clock=self.box.clock.time, monotonic=self.box.clock.monotonic)
        options = QueueOptions(max_retries=self.notifications.max_retries, resend_unknown=self.notifications.resend)
        # One attempt at a time makes a run repeatable.
        self.dispatcher = Dispatcher(
            self.app.outbox,
            [TransportQueue(TRANSPORT, self.transport, RENDERER, options)],
            worker_id="test",
            max_concurrent=1,
            throttle_rules=(ThrottleRule(threshold=THRESHOLD),),
            clock=self.box.clock.time,
            monotonic=self.box.clock.monotonic,
        )
        self.app.outbox.queue.recover(self.box.clock.now)
        self.notifications.update_after_loss()

    def close(self) -> None:
        """End the process; its memory is lost."""
        self.dispatcher.stop(seconds=5)
        self.app.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def run(self, answers: list[str], kill: tuple[str, int] | None, *, scans: bool, delivers: bool) -> None:
        """Scan or deliver or both; killed at the point `kill` if it gets there."""
        self.transport.script = list(answers)
        with self.killable(kill):
            if scans:
                self.app.pipeline.tick(self.box.clock.now, last_scan=self.last_scan)
                self.last_scan = self.box.clock.now
            if delivers:
                self.deliver()
        self.transport.script = []

    @contextlib.contextmanager
    def killable(self, kill: tuple[str, int] | None) -> Iterator[None]:
        """Run work that is killed at the point `kill`, if it gets there; then start another process."""
        self.kill = kill
        with contextlib.suppress(Killed):
            yield
        self.kill = None
        if self.transport.is_killed:
            note(f"killed at {kill}")
            self.restart()

    def deliver(self) -> None:
        self.dispatcher.drain()
        if self.transport.is_killed:  # in the thread of an attempt
            raise Killed
        self.app.pipeline.sync_ledger()

    def on_reach(self, point: str) -> None:
        """Called at every fail-point."""
        if self.transport.is_killed:
            raise Killed
        if point in {"outbox.enqueued", "attempt.recorded"}:
            self.notifications.record_outbox()
        if self.kill and point == self.kill[0]:
            self.kill = (point, self.kill[1] - 1)
            if not self.kill[1]:
                self.transport.is_killed = True
                self.dispatcher._outcomes._unsaved.clear()  # a kill loses the memory
                self.dispatcher.stop(seconds=0)  # and ends every thread
                raise Killed

    def claim_concurrently(self, outcomes: list[str]) -> None:
        """Claim all that can be claimed at once; the next process finds unfinished attempts."""
        known, now, queue = self.notifications, self.box.clock.now, self.app.outbox.queue
        claims: list[list[ClaimedNotification]] = []
        while due := claim(self.app.outbox, TRANSPORT, now, worker_id="hand", resend=known.resend):
            claims.append(due)
        known.record_outbox()
        taken = [item.id for claim in claims for item in claim]
        assert len(taken) == len(set(taken)), "one notification claimed twice"
        conversations = Counter(
            conversation for claim in claims for conversation in {(item.event.entity, item.recipient) for item in claim}
        )
        assert not [each for each, count in conversations.items() if count > 1], "two attempts in one conversation"
        for message in claims:
            for item in message:
                assert not known.expected[item.id].is_confirmed, f"a confirmed message is sent again: {item}"
                known.require(not known.earlier_unfinished(known.rows[item.id]), f"sent before an earlier one: {item}")
        for message, outcome in zip(claims, [*outcomes, *["left"] * len(claims)], strict=False):
            for item in message:
                expected = known.expected[item.id]
                expected.deliveries += outcome != "refused"
                expected.has_no_fixed_id = expected.has_no_fixed_id or len(message) > 1
                expected.is_accepted = expected.is_accepted or outcome == "sent"
            if outcome == "sent":
                queue.mark_sent(message, now)
            elif outcome == "unknown":
                retry = AttemptOutcome(NotificationState.UNKNOWN, now + 60)
                queue.mark_failed(message, now, Failure.UNKNOWN, outcome, retry)
            elif outcome == "refused":
                queue.mark_failed(message, now, Failure.PERMANENT, outcome, AttemptOutcome(NotificationState.DEAD))
        self.restart()

    def jump_wall_clock(self, seconds: float) -> None:
        self.box.clock.now += seconds

    def requeue_dead_letters(self, number: int) -> None:
        """Requeue one dead letter or all ids: those that were delivered are not sent again."""
        dead_letters = self.app.outbox.dead_letters
        records = dead_letters.all()
        if not records:
            return
        chosen = [record.id for record in records] if number % 2 else [records[number % len(records)].id]
        dead_letters.requeue([*chosen, *self.notifications.rows] if number % 2 else chosen)
        remaining = {record.id for record in dead_letters.all()}
        assert not remaining & set(chosen)
        for record in records:
            if record.id not in remaining:  # the chosen ones and the rest of their digests
                self.notifications.expected[record.id].mark_requeued()
        self.notifications.record_outbox()

    def requeue_held(self) -> None:
        """Requeue all messages whose outcome is unknown."""
        dead_letters = self.app.outbox.dead_letters
        held = [record.id for record in dead_letters.all() if record.state == "unknown"]
        dead_letters.requeue(held)
        for each in held:
            self.notifications.expected[each].mark_requeued()
        self.notifications.record_outbox()

    def damage_ledger(self, kind_of_damage: tuple[str, str, float]) -> None:
        """Between two runs; `integration/damage` covers a running worker."""
        ledger, copy, fraction = kind_of_damage
        self.close()
        damage(self.box.home.state, ledger, fraction)
        damage(self.box.home.state.with_name("state.json.bak"), copy, fraction)
        self.open()

    def delete_outbox(self, kind_of_damage: str) -> None:
        self.close()
        for end in ("-wal", "-shm"):
            damage(self.box.home.outbox.with_name(f"outbox.db{end}"), "gone", 0)
        damage(self.box.home.outbox, kind_of_damage, 0)
        self.notifications.rows = {}
        self.open()

    def remove_outbox_of_running_worker(self, _how: None) -> None:
        """The worker detects it in its next scan."""
        for path in self.box.home.root.glob("outbox.db*"):
            path.unlink()
        self.notifications.update_after_loss()


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
