"""Who sends when: pace, rests, permits, and nothing that one transport does to another."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Message, Notification, Receipt
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.ports import Transport
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.transports.smtp.settings import SmtpSettings
from tests.fakes.mailserver import HOST, ids, raw, serving, swallows
from tests.support import Clock, MakeDispatcher, claim_and_die, tally, transport_for, wait_until


class Sink:
    """A transport that keeps what it gets, and fails as it is told."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.tried: list[str] = []  # ids, of all attempts
        self.failures: list[DeliveryError] = []
        self.checks: list[DeliveryError] = []
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = 0.0  # that an attempt takes
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def check(self) -> None:
        if self.checks:
            raise self.checks[0]

    def send(self, message: Message) -> Receipt:
        with self._lock:
            self.tried.append(message.id)
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.gate.wait()
        time.sleep(self.seconds)  # as long as the other side takes
        with self._lock:
            self.inside -= 1
            if self.failures:
                raise self.failures.pop(0)
            self.got.append(message)
        return Receipt("id", "thread")

    def close(self) -> None:
        """Nothing is kept."""


RENDERER = EmailRenderer(TemplateRenderer(), sender="o@x.org", links=Links())


@pytest.fixture
def make(make: MakeDispatcher) -> Iterator[MakeDispatcher]:
    every: list[TransportQueue] = []

    def made(*queues: TransportQueue, **more: Any) -> Dispatcher:
        every.extend(queues)
        return make(*queues, **more)

    yield made
    for queue in every:
        if isinstance(queue.transport, Sink):
            queue.transport.gate.set()  # a test that failed may have left it closed


def transport_queue(transport: Transport, name: str = "box", **more: Any) -> TransportQueue:
    return TransportQueue(name, transport, RENDERER, QueueOptions(**more))


def owe(
    outbox: SqliteOutbox, count: int, *, via: str = "box", now: float = 0.0, start: int = 0, to: str = "o@x.org"
) -> None:
    events = [
        Event(
            EventKind.JOB_SUBMITTED, f"job/{via}/{number}", "T", "", {"name": f"job {number}", "submitter": "a@b.org"}
        )
        for number in range(start, start + count)
    ]
    items = [Notification(event.key, event.entity, to, Audience.OWNER, via) for event in events]
    outbox.enqueue(events, items, now)


def smtp(port: int) -> Transport:
    section = SmtpSettings.model_validate({"type": "smtp", "smtp_url": f"smtp://{HOST}:{port}"})
    return transport_for(section)


def test_a_drain_delivers_all_that_is_due(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    sink = Sink()
    owe(outbox, 20)
    make(transport_queue(sink)).drain()

    assert len({message.id for message in sink.got}) == 20
    assert outbox.history.counts() == tally(sent=20)


def test_what_ended_is_written_down_although_the_other_side_is_quick(
    make: MakeDispatcher, outbox: SqliteOutbox
) -> None:
    """Else a kill would leave unknown all that a quick server took since the first message."""
    sink = Sink()
    owe(outbox, 200)
    dispatcher = make(transport_queue(sink), max_concurrent=4)
    unwritten: list[int] = []
    keep = sink.send

    class Counting(Sink):
        def send(self, message: Message) -> Receipt:
            unwritten.append(len(dispatcher._outcomes._unsaved))
            return keep(message)

    dispatcher.add(transport_queue(Counting()))
    dispatcher.drain()

    assert len(sink.got) == 200
    assert max(unwritten) <= 8


class Babbler(Sink):
    """Gives its first message an id that no database takes."""

    def send(self, message: Message) -> Receipt:
        receipt = super().send(message)
        return Receipt("\ud800") if message is self.got[0] else receipt


def test_an_outcome_that_cannot_be_written_down_holds_no_other_back(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    owe(outbox, 5)
    sink = Babbler()
    dispatcher = make(transport_queue(sink))
    dispatcher.drain()

    assert len(sink.got) == 5
    assert outbox.history.counts() == tally(sent=4, waiting=1)
    assert "surrogates" in dispatcher.status.last_error


def test_a_drain_leaves_nothing_behind_that_an_attempt_let_go_on(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    events = [Event(kind, "job/x", "T", "", {"name": "x"}) for kind in (EventKind.JOB_SUBMITTED, EventKind.JOB_FAILED)]
    outbox.enqueue(events, [Notification(each.key, "job/x", "o@x.org", Audience.OWNER, "box") for each in events], 0.0)
    make(transport_queue(Sink())).drain()

    assert outbox.history.counts() == tally(sent=2)


def test_while_an_attempt_hangs_the_outbox_is_left_alone(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    sink = Sink()
    sink.gate.clear()
    owe(outbox, 5)
    slow = transport_queue(sink)
    slow.health.is_degraded = True  # one permit
    dispatcher = make(slow)
    asked: list[object] = []
    sa.event.listen(outbox._database._engine, "checkout", lambda connection, *_: asked.append(connection))
    dispatcher.start()
    try:
        wait_until(lambda: sink.tried)
        wait_until(lambda: dispatcher._timeout > 1.0)
        before = len(asked)
        time.sleep(0.5)  # ten of the shortest waits
        assert len(asked) == before
    finally:
        sink.gate.set()
    wait_until(lambda: len(sink.got) == 5)


def test_what_fails_now_is_tried_later_and_only_later(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    sink = Sink()
    sink.failures = [DeliveryError(Failure.TEMPORARY, "503")]
    owe(outbox, 1)
    dispatcher = make(transport_queue(sink))
    dispatcher.drain()
    assert (sink.got, outbox.history.counts()) == ([], tally(waiting=1, failed=1))
    clock.advance(3600)
    dispatcher.drain()

    assert len(sink.got) == 1


def test_no_answer_rests_the_transport_not_the_others(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    dead, well = Sink(), Sink()
    dead.failures = [DeliveryError(Failure.UNREACHABLE, "refused")] * 99
    owe(outbox, 10, via="dead")
    owe(outbox, 10, via="well")
    queues = transport_queue(dead, "dead"), transport_queue(well, "well")
    queues[0].health.is_degraded = True  # it gave no answer before: one permit at a time
    make(*queues).drain()

    assert len(well.got) == 10
    assert dead.most == 1
    assert outbox.history.counts().waiting == 10


def test_a_refusal_is_dead_after_one_attempt(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    sink = Sink()
    sink.failures = [DeliveryError(Failure.PERMANENT, "400")]
    owe(outbox, 1)
    make(transport_queue(sink)).drain()

    assert outbox.history.counts() == tally(dead=1)


@pytest.mark.parametrize("failure", [Failure.AUTH, Failure.QUOTA])
def test_a_pause_keeps_every_row_in_order(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, failure: Failure
) -> None:
    """X07"""
    sink = Sink()
    sink.failures = [DeliveryError(failure, "sign in again")]
    owe(outbox, 5)
    box = transport_queue(sink)
    dispatcher = make(box, max_concurrent=1)
    dispatcher.drain()

    assert box.health.unavailable_reason(clock.ticks) == "sign in again"
    assert outbox.history.counts() == tally(waiting=5)
    clock.advance(7200)
    dispatcher.drain()
    assert [message.subject for message in sink.got] == [f'SyftBox job "job {n}" from a@b.org' for n in range(5)]
    assert box.health.pause_reason == ""


def test_a_cut_off_send_is_unknown_and_sent_again_with_the_same_id(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03"""
    sink = Sink()
    sink.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
    owe(outbox, 1)
    dispatcher = make(transport_queue(sink))
    dispatcher.drain()
    due = outbox.history.counts()
    clock.advance(3600)
    dispatcher.drain()

    assert due == tally(waiting=1, failed=1, unknown=1)
    assert outbox.history.counts() == tally(sent=1, unknown=1)
    assert len(sink.got) == 1
    assert sink.tried == [sink.got[0].id] * 2


def test_a_cut_off_send_that_is_held_waits_for_a_word_and_holds_nothing_else_up(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03: `on_unknown: hold`."""
    sink = Sink()
    sink.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
    owe(outbox, 1)
    dispatcher = make(transport_queue(sink, resend_unknown=False))
    dispatcher.drain()
    (held,) = sink.tried
    assert outbox.dead_letters.states(held) == {held: "unknown"}
    later = Event(EventKind.JOB_COMPLETED, "job/box/0", "T2", "", {"name": "job 0", "submitter": "a@b.org"})
    outbox.enqueue([later], [Notification(later.key, later.entity, "o@x.org", Audience.OWNER, "box")], 0.0)
    owe(outbox, 3, start=1)
    for _ in range(5):
        clock.advance(3600)
        dispatcher.drain()

    assert sink.tried.count(held) == 1
    assert outbox.history.counts(holding=["box"]) == tally(sent=4, failed=1, unknown=1, held=1)
    assert outbox.dead_letters.requeue([held]) == 1
    dispatcher.drain()
    assert [message.id for message in sink.got][-1] == held
    assert outbox.history.counts(holding=["box"]) == tally(sent=5, unknown=1)


@pytest.mark.parametrize(
    ("resends", "tried", "counts"), [(True, 1, tally(sent=1, unknown=1)), (False, 0, tally(held=1, unknown=1))]
)
def test_what_a_killed_worker_was_sending_may_have_arrived(
    make: MakeDispatcher,
    outbox: SqliteOutbox,
    clock: Clock,
    tmp_path: Path,
    resends: bool,
    tried: int,
    counts: OutboxCounts,
) -> None:
    """X01, X03: found sending at the start, it is treated as one that was cut off."""
    sink = Sink()
    owe(outbox, 1)
    (lost,) = claim_and_die(tmp_path / "outbox.db", "box", clock.now)
    outbox.queue.recover(clock.now)
    make(transport_queue(sink, resend_unknown=resends)).drain()

    assert sink.tried == [lost.id] * tried
    assert outbox.history.counts(holding=[] if resends else ["box"]) == counts


@pytest.mark.parametrize("silence", [Failure.UNREACHABLE, Failure.UNKNOWN])
def test_a_transport_that_was_silent_holds_one_permit_until_one_message_arrives(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock, silence: Failure
) -> None:
    """G03: an answer that is a no shows that it speaks, not that it delivers; a success gives it its share back."""
    sink = Sink()
    sink.failures = [DeliveryError(silence, "silent")]
    owe(outbox, 1)
    box = transport_queue(sink)
    dispatcher = make(box, max_concurrent=4)
    dispatcher.drain()
    assert box.health.is_degraded
    clock.advance(4000)
    sink.failures = [DeliveryError(Failure.TEMPORARY, "503")] * 2
    owe(outbox, 30, start=1)
    sink.gate.clear()
    dispatcher.start()
    wait_until(lambda: sink.inside == 1)
    sink.seconds = 0.02
    sink.gate.set()
    wait_until(lambda: not sink.failures)
    assert sink.most == 1, "two were answered, none has arrived"
    wait_until(lambda: len(sink.got) >= 2)
    sink.gate.clear()

    wait_until(lambda: sink.inside == 4, what="all four permits after a success")
    assert not box.health.is_degraded
    sink.gate.set()


def test_several_cut_off_sends_in_a_row_rest_the_transport(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03: a proxy that cuts off every answer for an afternoon doubles a handful of messages, not all that wait."""
    sink = Sink()
    sink.failures = [DeliveryError(Failure.UNKNOWN, "cut off")] * 2
    owe(outbox, 20)
    box = transport_queue(sink)
    dispatcher = make(box, max_concurrent=1)
    dispatcher.drain()

    assert len(sink.tried) == 2, "after one the others go on, after two they rest"
    assert box.health.paused_until > clock.monotonic()
    assert not box.health.pause_reason, "nobody need act"
    assert outbox.history.counts() == tally(waiting=20, failed=2, unknown=2)
    clock.advance(3600)
    dispatcher.drain()
    assert outbox.history.counts() == tally(sent=20, unknown=2)
    assert box.health.consecutive_timeouts == 0
    assert set(sink.tried[:2]) <= {message.id for message in sink.got}


def test_one_cut_off_send_among_good_ones_rests_nothing(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X03"""
    sink = Sink()
    owe(outbox, 20)
    box = transport_queue(sink)
    dispatcher = make(box, max_concurrent=1)
    for number in range(3):
        sink.failures = [DeliveryError(Failure.UNKNOWN, "cut off")]
        dispatcher.drain()
        owe(outbox, 5, start=100 * (number + 1))
    dispatcher.drain()

    assert box.health.paused_until == 0.0
    assert outbox.history.counts().sent == 32


@pytest.mark.parametrize(
    ("failure", "label"),
    [
        (Failure.PERMANENT, "FAILED_DELIVERY"),
        (Failure.TEMPORARY, "FAILED_DELIVERY"),
        *((each, "FAILED_TRANSPORT") for each in Failure if each not in {Failure.PERMANENT, Failure.TEMPORARY}),
    ],
)
def test_a_failed_attempt_is_logged_with_the_label_of_its_class(
    make: MakeDispatcher, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture, failure: Failure, label: str
) -> None:
    """B11"""
    sink = Sink()
    sink.failures = [DeliveryError(failure, "no")]
    owe(outbox, 1)
    make(transport_queue(sink)).drain()

    assert f"notification {label}: job_submitted to o@x.org" in caplog.text


def test_a_poisoned_message_stops_nothing_else(
    make: MakeDispatcher, outbox: SqliteOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    event = Event(EventKind.HEARTBEAT, "worker/1", payload={"figures": 5})  # the template wants a list
    outbox.enqueue([event], [Notification(event.key, event.entity, "o@x.org", Audience.OWNER, "box")], 0.0)
    sink = Sink()
    owe(outbox, 3)
    make(transport_queue(sink)).drain()

    assert len(sink.got) == 3
    assert "TypeError" in caplog.text
    assert outbox.history.counts().dead == 1


def test_the_pace_is_kept(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    sink = Sink()
    owe(outbox, 10)
    slow = transport_queue(sink, rate=1.0, burst=5)
    dispatcher = make(slow)
    dispatcher.start()
    wait_until(lambda: len(sink.got) == 5)
    dispatcher.wake()
    assert slow.wait(clock.monotonic()) == pytest.approx(1.0)
    clock.advance(2)
    dispatcher.wake()

    wait_until(lambda: outbox.history.counts() == tally(waiting=3, sent=7))
    assert len(sink.got) == 7


def test_the_permits_are_shared_and_never_exceeded(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G02"""
    one, two = Sink(), Sink()
    one.gate.clear()
    two.gate.clear()
    owe(outbox, 10, via="one")
    owe(outbox, 10, via="two")
    make(transport_queue(one, "one"), transport_queue(two, "two"), max_concurrent=4).start()
    wait_until(lambda: one.inside + two.inside == 4)
    one.gate.set()
    two.gate.set()

    wait_until(lambda: len(one.got) + len(two.got) == 20)
    assert max(one.most, two.most) <= 4


def test_a_hanging_transport_never_delays_a_healthy_one(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G03"""
    hung, well = Sink(), Sink()
    hung.gate.clear()
    owe(outbox, 1, via="well")
    owe(outbox, 30, via="hung")
    dispatcher = make(transport_queue(well, "well"), transport_queue(hung, "hung"), max_concurrent=4)
    dispatcher.start()
    wait_until(lambda: hung.inside == 2 and len(well.got) == 1)
    owe(outbox, 30, via="well", start=100)
    dispatcher.wake()
    try:
        wait_until(lambda: len(well.got) == 31)
    finally:
        hung.gate.set()


def test_a_black_hole_holds_half_of_the_permits_and_the_other_transport_gets_everything(
    make: MakeDispatcher, outbox: SqliteOutbox
) -> None:
    """G03: a real server that accepts every connection and never says a word, beside one that is well."""
    with raw(swallows) as hole, serving() as server:
        owe(outbox, 200, via="hole")
        owe(outbox, 200, via="well", to="w@x.org")
        queues = transport_queue(smtp(hole.port), "hole"), transport_queue(smtp(server.port), "well")
        make(*queues, max_concurrent=8).start()
        wait_until(lambda: hole.held == 4, what="the black hole has all that it may have")
        wait_until(lambda: len(server.committed) == 200, seconds=400)

        assert hole.most <= 4
        assert len(set(ids(server.committed))) == 200
        assert {mail.to for mail in server.committed} == {"w@x.org"}
        assert outbox.history.counts().dead == 0


def test_two_transports_that_hang_leave_a_permit_for_a_third(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """G03: however many hang, whoever has nothing under way still finds one."""
    hung, well = [Sink(), Sink()], Sink()
    for sink in hung:
        sink.gate.clear()
    names = ("one", "two")
    for name in names:
        owe(outbox, 20, via=name, to=f"{name}@x.org")
    queues = [transport_queue(sink, name) for sink, name in zip(hung, names, strict=True)]
    dispatcher = make(*queues, transport_queue(well, "well"), max_concurrent=4)
    dispatcher.start()
    try:
        wait_until(lambda: hung[0].inside + hung[1].inside == 3, what="all but one permit hangs")
        owe(outbox, 20, via="well", to="w@x.org")
        dispatcher.wake()
        wait_until(lambda: len(well.got) == 20)
    finally:
        for sink in hung:
            sink.gate.set()


def test_stopping_finishes_what_is_in_flight_and_starts_no_more(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    sink = Sink()
    sink.gate.clear()
    owe(outbox, 10)
    dispatcher = make(transport_queue(sink), max_concurrent=2)
    dispatcher.start()
    wait_until(lambda: sink.inside == 2)
    stopping = threading.Thread(target=dispatcher.stop)
    stopping.start()
    sink.gate.set()
    stopping.join()

    assert len(sink.got) == 2
    assert outbox.history.counts() == tally(waiting=8, sent=2)


def test_a_bundle_waits_as_long_as_a_single_message(make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock) -> None:
    events = [Event(EventKind.JOB_SUBMITTED, f"job/{n}", "T", "", {"name": str(n)}) for n in range(100)]
    items = [Notification(e.key, e.entity, "o@x.org", Audience.OWNER, "box", bundle="b") for e in events]
    outbox.enqueue(events, items, 0.0)
    sink = Sink()
    sink.failures = [DeliveryError(Failure.TEMPORARY, "503", not_before=datetime.fromtimestamp(clock.now + 500, UTC))]
    dispatcher = make(transport_queue(sink))
    dispatcher.drain()
    clock.advance(499)
    dispatcher.drain()
    assert (len(sink.got), outbox.history.counts().waiting) == (0, 100)
    clock.advance(2)
    dispatcher.drain()

    assert len(sink.got) == 1
    assert outbox.history.counts() == tally(sent=1, notifications=100)


def test_an_outcome_that_could_not_be_saved_is_saved_later(
    make: MakeDispatcher, outbox: SqliteOutbox, tmp_path: Path
) -> None:
    """X01"""
    sink = Sink()
    sink.gate.clear()
    owe(outbox, 1)
    dispatcher = make(transport_queue(sink))
    dispatcher.start()
    wait_until(lambda: sink.inside == 1)
    (tmp_path / "outbox.db").chmod(0o600)
    blocker = sqlite3.connect(tmp_path / "outbox.db", timeout=5)
    blocker.execute("ALTER TABLE attempts RENAME TO elsewhere")
    blocker.commit()
    sink.gate.set()
    wait_until(lambda: "attempts" in dispatcher.status.last_error)
    blocker.execute("ALTER TABLE elsewhere RENAME TO attempts")
    blocker.commit()
    blocker.close()

    wait_until(lambda: outbox.history.counts() == tally(sent=1))
    assert len(sink.got) == 1


def test_a_refusal_that_signing_in_does_not_show_pauses_until_a_send_succeeds(
    make: MakeDispatcher, outbox: SqliteOutbox, clock: Clock
) -> None:
    """X07"""
    sink = Sink()
    sink.failures = [DeliveryError(Failure.AUTH, "403 accessNotConfigured")] * 3
    owe(outbox, 1)
    box = transport_queue(sink)
    dispatcher = make(box)
    for _ in range(3):
        dispatcher.drain()
        assert box.health.pause_reason
        clock.advance(301)
    dispatcher.drain()

    assert (box.health.pause_reason, len(sink.got)) == ("", 1)


def test_a_message_that_cannot_be_worded_is_a_dead_letter(make: MakeDispatcher, outbox: SqliteOutbox) -> None:
    """A2: another attempt would change nothing, and nothing was sent."""
    event = Event(EventKind.HEARTBEAT, "worker/1", payload={"figures": 5})
    outbox.enqueue([event], [Notification(event.key, event.entity, "o@x.org", Audience.OWNER, "box")], 0.0)
    make(transport_queue(Sink())).drain()

    assert outbox.history.counts() == tally(dead=1)


def test_a_dead_sign_in_is_known_before_the_first_mail_and_mends_by_itself(make: MakeDispatcher, clock: Clock) -> None:
    sink = Sink()
    sink.checks = [DeliveryError(Failure.AUTH, "sign in again")]
    box = transport_queue(sink)
    dispatcher = make(box)
    dispatcher.start()
    wait_until(lambda: box.health.pause_reason == "sign in again")
    sink.checks = []
    clock.advance(301)
    dispatcher.wake()

    wait_until(lambda: box.health.pause_reason == "")
