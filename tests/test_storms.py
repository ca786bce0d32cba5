"""Has somebody had enough for now? Above 200 messages in ten minutes the rest is one digest in ten minutes."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.dispatcher import Dispatcher, Lane
from syftnotify.errors import DeliveryError, Failure
from syftnotify.model import Audience, Event, Kind, Message, Notification, Receipt
from syftnotify.outbox import Outbox, Verdict
from syftnotify.render import Links, TemplateRenderer, Wording
from syftnotify.storms import ABOVE, EVERY, WITHIN, Storms, Window
from tests.support import Clock, MakeDispatcher, claim, claim_and_die, tally, wait_until

READER = "o@x.org"
OTHER = "b@x.org"
FLOOD = "flood@lab.example"
RARE = "rare@uni.example"
TEN_MINUTES = 600.0


# -- how often something happened --------------------------------------------------------------------------------


def filled(count: int, *, at: float = 1000.0, above: int = 3, seconds: float = 10.0) -> Window:
    window = Window(above, seconds)
    for _ in range(count):
        window.note("key", at)
    return window


def test_the_limits_are_those_of_the_decision() -> None:
    """X06: 200 messages to one recipient in ten minutes, one digest in ten minutes."""
    assert (ABOVE, WITHIN, EVERY) == (200, 600, 600)


@pytest.mark.parametrize(("count", "is_full"), [(0, False), (2, False), (3, True), (4, True), (99, True)])
def test_a_window_is_full_when_it_happened_as_often_as_it_may(count: int, is_full: bool) -> None:
    assert filled(count).is_full("key", 1000.0) is is_full


@pytest.mark.parametrize(("later", "is_full"), [(0, True), (9.999, True), (10, False), (1e9, False)])
def test_a_window_forgets_what_is_as_old_as_it_is_long(later: float, is_full: bool) -> None:
    assert filled(3).is_full("key", 1000.0 + later) is is_full


def test_a_window_slides() -> None:
    window = Window(3, 10.0)
    for moment in (0.0, 4.0, 8.0):
        window.note("key", moment)

    assert window.is_full("key", 9.0)
    assert not window.is_full("key", 10.0), "the first is forgotten"
    window.note("key", 10.0)
    assert window.is_full("key", 13.0)
    assert not window.is_full("key", 14.0)


def test_one_key_says_nothing_of_another() -> None:
    window = filled(3)

    assert not window.is_full("another", 1000.0)


def test_what_is_taken_back_did_not_happen() -> None:
    window = filled(2)
    window.note("key", 1001.0)
    window.take_back("key", 1001.0)

    assert not window.is_full("key", 1001.0)
    window.note("key", 1002.0)
    assert window.is_full("key", 1002.0)


def test_one_more_than_it_may_hold_taken_back_leaves_it_full() -> None:
    window = filled(3)
    window.note("key", 1001.0)
    window.take_back("key", 1001.0)

    assert window.is_full("key", 1001.0)


def test_taking_back_what_never_happened_changes_nothing() -> None:
    window = filled(3)
    window.take_back("key", 999.0)
    window.take_back("another", 1000.0)

    assert window.is_full("key", 1000.0)


@pytest.mark.parametrize("jump", [-0.5, -3600.0, -1e9, 1e9])
def test_a_clock_that_jumps_forgets_and_counts_anew(jump: float) -> None:
    """Promise 4: neither does nobody get a mail for a year, nor do all, one by one."""
    window = filled(3)

    assert not window.is_full("key", 1000.0 + jump)
    for _ in range(3):
        window.note("key", 1000.0 + jump)
    assert window.is_full("key", 1000.0 + jump)
    assert not window.is_full("key", 1000.0 + jump + 10.0)


@given(st.lists(st.floats(0, 50), max_size=30), st.floats(0, 60))
def test_a_window_counts_right_whenever_it_is_asked(moments: list[float], now: float) -> None:
    window = Window(3, 10.0)
    for moment in sorted(moments):
        window.note("key", moment)
    now = max([now, *moments])

    assert window.is_full("key", now) is (sum(now - moment < 10.0 for moment in moments) >= 3)


# -- who was sent how much ---------------------------------------------------------------------------------------


def after_a_storm(at: float = 0.0) -> Storms:
    storms = Storms()
    for _ in range(ABOVE):
        storms.note(READER, "", at)
    return storms


def test_two_hundred_go_as_they_are_and_then_all_is_gathered() -> None:
    """X06"""
    storms = Storms()
    for number in range(ABOVE):
        assert storms.gathering(READER, "box", float(number) / 10) is None
        storms.note(READER, "", float(number) / 10)

    assert storms.gathering(READER, "box", 20.0) is not None
    assert storms.gathering(OTHER, "box", 20.0) is None


def test_window_drops_keys_that_never_return() -> None:
    """A13: a worker runs for a year, and anybody can invent a key."""
    window = Window(3, 10.0)
    for number in range(1000):
        window.note(f"key {number}", float(number))

    assert len(window._moments) <= 20


def test_the_first_digest_leaves_at_once_and_the_next_ten_minutes_after_it() -> None:
    """X06"""
    storms = after_a_storm()
    first = storms.gathering(READER, "box", 5.0)
    assert first is not None
    assert first.not_before == 5.0
    storms.note(READER, first.bundle, 5.0)

    later = [storms.gathering(READER, "box", moment) for moment in (5.0, 100.0, 599.0)]
    assert {gathering.not_before for gathering in later if gathering} == {5.0 + TEN_MINUTES}
    assert len({gathering.bundle for gathering in later if gathering}) == 1, "all that comes meanwhile joins one digest"
    assert later[0] is not None
    assert later[0].bundle != first.bundle


def test_a_digest_that_did_not_arrive_is_not_waited_for() -> None:
    storms = after_a_storm()
    first = storms.gathering(READER, "box", 5.0)
    assert first is not None
    storms.note(READER, first.bundle, 5.0)
    storms.take_back(READER, first.bundle, 5.0)

    again = storms.gathering(READER, "box", 50.0)
    assert again is not None
    assert again.not_before == 50.0


@pytest.mark.parametrize("jump", [-1e8, -60.0])
def test_a_digest_of_the_future_is_not_waited_for(jump: float) -> None:
    """Promise 4: the clock was set back."""
    storms = after_a_storm()
    storms.note(READER, "storm-1", 0.0)
    for _ in range(ABOVE):
        storms.note(READER, "", jump)

    gathering = storms.gathering(READER, "box", jump)
    assert gathering is not None
    assert gathering.not_before == jump


def test_a_bundle_of_another_kind_is_a_message_and_no_digest_of_a_storm() -> None:
    storms = after_a_storm()
    storms.note(READER, "bundle-1", 0.0)

    gathering = storms.gathering(READER, "box", 1.0)
    assert gathering is not None
    assert gathering.not_before == 1.0


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60)), max_size=60))
def test_nobody_gets_more_than_that_whenever_it_comes(bursts: list[tuple[float, int]]) -> None:
    """X06: 200 messages and one digest in any ten minutes, whatever the pace of the flood."""
    storms, now, left = Storms(), 0.0, []
    waiting: dict[str, float] = {}
    for pause, count in bursts:
        now += pause
        for bundle in [bundle for bundle, moment in waiting.items() if moment <= now]:
            del waiting[bundle]
            storms.note(READER, bundle, now)
            left.append(now)
        for _ in range(count):
            gathering = storms.gathering(READER, "box", now)
            if gathering is None:
                storms.note(READER, "", now)
                left.append(now)
            elif gathering.not_before <= now:
                storms.note(READER, gathering.bundle, now)
                left.append(now)
            else:
                waiting[gathering.bundle] = gathering.not_before

    assert all(sum(0 <= moment - first < WITHIN for moment in left) <= ABOVE + 1 for first in left)


# -- through the dispatcher and the outbox -----------------------------------------------------------------------


class Mailbox:
    """A transport that keeps what it gets; what is about a job of `faults` fails as is said there."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.faults: dict[str, list[DeliveryError]] = {}  # by entity, or "digest"
        self.tried: Counter[str] = Counter()  # by id
        self.held: dict[str, threading.Event] = {}  # an entity is not answered before this
        self._lock = threading.Lock()

    def check(self) -> None:
        """It always works."""

    def close(self) -> None:
        """Nothing is kept."""

    def send(self, message: Message) -> Receipt:
        name = "digest" if is_digest(message) else entities(message)[0]
        if name in self.held:
            self.held[name].wait()
        with self._lock:
            self.tried[message.id] += 1
            if self.faults.get(name):
                raise self.faults[name].pop(0)
            self.got.append(message)
        return Receipt("id")

    @property
    def singles(self) -> list[str]:
        return [entities(message)[0] for message in self.got if not is_digest(message)]

    @property
    def digests(self) -> list[list[str]]:
        return [entities(message) for message in self.got if is_digest(message)]


def entities(message: Message) -> list[str]:
    return [value for name, value in message.headers if name == "X-SyftNotify-Entity"]


def is_digest(message: Message) -> bool:
    return ("X-SyftNotify-Event", "digest") in message.headers


Make = Callable[..., Dispatcher]


@pytest.fixture
def make(make: MakeDispatcher) -> Make:
    def made(*, max_concurrent: int = 8, **boxes: Mailbox) -> Dispatcher:
        wording = Wording(TemplateRenderer(), sender=READER, links=Links())
        lanes = [Lane(name, box, wording, max_retries=1) for name, box in boxes.items()]
        return make(*lanes, max_concurrent=max_concurrent)

    return made


def submitted(name: str, by: str = FLOOD) -> Event:
    return Event(Kind.JOB_SUBMITTED, f"job/{name}", "T", "", {"name": name, "submitter": by})


def owed(event: Event, *, to: str = READER, via: str = "box") -> Notification:
    return Notification(event.key, event.entity, to, Audience.OWNER, via)


def owe(outbox: Outbox, clock: Clock, names: Iterable[str], *, by: str = FLOOD, **more: Any) -> None:
    events = [submitted(name, by) for name in names]
    outbox.put(events, [owed(event, **more) for event in events], clock.now)


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"{number:04d}" for number in range(start, start + count)]


def had(outbox: Outbox, clock: Clock, tmp_path: Path, names: Iterable[str], *, ago: float = 0.0, **more: Any) -> None:
    """The outbox of somebody who was sent these so many seconds ago, as a worker before this one left it."""
    names = list(names)
    owe(outbox, clock, names, **more)
    moment = clock.now - ago
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db", timeout=20)) as connection, connection:
        for name in names:
            (key,) = connection.execute("SELECT id FROM notifications WHERE entity = ?", [f"job/{name}"]).fetchone()
            connection.execute("UPDATE notifications SET state = 'sent' WHERE id = ?", [key])
            connection.execute(
                "INSERT INTO attempts (notification, started_at, ended_at, outcome, error, provider_id)"
                " VALUES (?, ?, ?, 'sent', '', '')",
                [key, moment, moment],
            )
        for total in ("messages", "notifications"):
            connection.execute(
                "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                [total, len(names)],
            )


def test_of_250_at_once_two_hundred_come_as_they_are_and_the_others_in_one_digest(
    make: Make, outbox: Outbox, clock: Clock
) -> None:
    """X06"""
    box = Mailbox()
    owe(outbox, clock, numbered(250))
    make(box=box).drain()

    assert sorted(box.singles) == [f"job/{name}" for name in numbered(200)]
    assert [sorted(digest) for digest in box.digests] == [[f"job/{name}" for name in numbered(50, 200)]]
    (digest,) = [message for message in box.got if is_digest(message)]
    assert all(name in digest.text and name in digest.html for name in numbered(50, 200))
    assert digest.recipient == READER
    assert "50 requests wait for you" in digest.subject
    assert outbox.counts() == tally(sent=201, notifications=250)


def test_what_comes_within_the_ten_minutes_leaves_as_one_digest_ten_minutes_after_the_last(
    make: Make, outbox: Outbox, clock: Clock
) -> None:
    """X06"""
    box = Mailbox()
    dispatcher = make(box=box)
    owe(outbox, clock, numbered(201))
    dispatcher.drain()
    begun = clock.now
    for number, pause in enumerate((0.0, 29.5, 300.0, 270.0)):
        clock.advance(pause)
        owe(outbox, clock, numbered(5, 1000 + 5 * number))
        dispatcher.drain()
    assert (len(box.singles), len(box.digests)) == (200, 1)
    assert outbox.counts() == tally(waiting=20, sent=201)
    assert outbox.next_due("box", clock.now) == begun + TEN_MINUTES, "and nobody need ask before"
    clock.now = begun + TEN_MINUTES - 0.01
    dispatcher.drain()
    assert len(box.digests) == 1
    clock.now = begun + TEN_MINUTES
    dispatcher.drain()

    assert [sorted(digest) for digest in box.digests[1:]] == [[f"job/{name}" for name in numbered(20, 1000)]]
    assert outbox.counts() == tally(sent=202, notifications=221)


def test_rows_blocked_by_an_attempt_when_a_digest_leaves_wait_for_the_next_digest(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: they do not leave in one small digest each as soon as that attempt ends."""
    box = Mailbox()
    slow = numbered(5)
    box.held = {f"job/{name}": threading.Event() for name in slow}
    had(outbox, clock, tmp_path, numbered(195, 1000))
    owe(outbox, clock, slow)
    later = [Event(Kind.JOB_APPROVED, f"job/{name}", "T", "", {"name": name, "submitter": FLOOD}) for name in slow]
    outbox.put(later, [owed(event) for event in later], clock.now)
    owe(outbox, clock, numbered(20, 2000))
    dispatcher = make(box=box)
    drain = threading.Thread(target=dispatcher.drain)
    drain.start()
    wait_until(lambda: box.digests)
    for held in box.held.values():
        held.set()
    drain.join()
    assert [sorted(digest) for digest in box.digests] == [[f"job/{name}" for name in numbered(20, 2000)]]
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert sorted(name for message in box.got[6:] for name in entities(message)) == [f"job/{name}" for name in slow]
    assert outbox.counts().waiting == 0


def test_when_the_storm_is_over_messages_come_one_by_one_again(make: Make, outbox: Outbox, clock: Clock) -> None:
    """X06"""
    box = Mailbox()
    dispatcher = make(box=box)
    owe(outbox, clock, numbered(210))
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    owe(outbox, clock, numbered(3, 1000))
    dispatcher.drain()

    assert sorted(box.singles)[200:] == [f"job/{name}" for name in numbered(3, 1000)]


def test_a_storm_stops_nobody_elses_mail(make: Make, outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    """X06"""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    owe(outbox, clock, numbered(10, 1000))
    owe(outbox, clock, numbered(10, 2000), to=OTHER)
    make(box=box).drain()

    assert [len(digest) for digest in box.digests] == [10]
    assert sorted(box.singles) == [f"job/{name}" for name in numbered(10, 2000)]
    assert {message.recipient for message in box.got if not is_digest(message)} == {OTHER}


@pytest.mark.parametrize("kind", [Kind.SYSTEM_ALERT, Kind.TEST])
def test_the_workers_own_words_are_never_gathered(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path, kind: Kind
) -> None:
    """X06, X07: that the sign-in died must not wait ten minutes behind a flood."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(201))
    dispatcher = make(box=box)
    owe(outbox, clock, numbered(5, 1000))
    dispatcher.drain()
    owe(outbox, clock, numbered(5, 2000))
    alert = Event(kind, "transport/mail", "T", "", {"summary": "mail cannot be sent", "detail": "sign in"})
    outbox.put([alert], [owed(alert)], clock.now)
    owe(outbox, clock, numbered(5, 3000))
    dispatcher.drain()

    assert box.singles == ["transport/mail"]
    assert len(box.digests) == 1
    assert outbox.counts().waiting == 10


def test_a_restart_within_the_ten_minutes_remembers(make: Make, outbox: Outbox, clock: Clock) -> None:
    """X06, X01: a worker that crashes in a storm does not begin to count anew."""
    box = Mailbox()
    owe(outbox, clock, numbered(250))
    make(box=box).drain()
    begun = clock.now
    clock.advance(60)
    owe(outbox, clock, numbered(10, 1000))
    make(box=box).drain()
    assert (len(box.singles), len(box.digests)) == (200, 1)
    clock.advance(30)
    owe(outbox, clock, numbered(10, 2000))
    make(box=box).drain()
    assert (len(box.singles), len(box.digests)) == (200, 1)
    clock.now = begun + TEN_MINUTES
    make(box=box).drain()

    assert [len(digest) for digest in box.digests] == [50, 20]


@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_restart_counts_what_it_remembers_by_its_own_moment(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path, oldest_first: bool
) -> None:
    """X06: when most of it is older than ten minutes the storm is over, whatever the order of the rows."""
    by_id = sorted(numbered(200), key=lambda name: owed(submitted(name)).id)
    old, young = (by_id[:150], by_id[150:]) if oldest_first else (by_id[50:], by_id[:50])
    had(outbox, clock, tmp_path, old, ago=500.0)
    had(outbox, clock, tmp_path, young, ago=0.0)
    box = Mailbox()
    dispatcher = make(box=box)
    dispatcher.drain()  # what was sent is read now, when all of it is within ten minutes
    clock.advance(200)
    owe(outbox, clock, ["after"])
    dispatcher.drain()

    assert box.singles == ["job/after"]


def test_a_digest_lists_first_who_has_the_fewest_things_in_it(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: whoever floods hides nobody else; even when not all are listed."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    owe(outbox, clock, numbered(150, 1000))
    owe(outbox, clock, ["b1", "b2"], by="two@uni.example")
    owe(outbox, clock, ["rare"], by=RARE)
    make(box=box).drain()

    (digest,) = box.got
    names = [value.removeprefix("job/") for value in entities(digest)]
    assert names[:3] == ["rare", "b1", "b2"]
    assert len(names) == 153
    lines = [line for line in digest.text.splitlines() if line.startswith("- ")]
    assert RARE in lines[0]
    assert "two@uni.example" in lines[1]
    assert len(lines) == 101
    assert lines[-1] == f"- and 53 more from {FLOOD}"


def test_what_may_have_arrived_is_never_gathered_and_keeps_its_name(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X03, X06: in a digest its reader could not tell that it is the same mail."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(199))
    box.faults["job/cut"] = [DeliveryError(Failure.UNKNOWN, "cut off")]
    dispatcher = make(box=box)
    owe(outbox, clock, ["cut"])
    dispatcher.drain()
    (name,) = box.tried
    owe(outbox, clock, numbered(10, 1000))
    dispatcher.drain()
    assert [len(digest) for digest in box.digests] == [10], "an outcome that is unknown counts as a message"
    clock.advance(60)
    owe(outbox, clock, numbered(10, 2000))
    dispatcher.drain()

    assert box.tried[name] == 2
    assert box.singles == ["job/cut"]
    assert all("job/cut" not in digest for digest in box.digests)
    assert outbox.counts() == tally(waiting=10, sent=201, notifications=210, unknown=1)


def test_a_row_found_sending_is_not_gathered_either(make: Make, outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    """X03: killed in a storm, after the message had left."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    owe(outbox, clock, ["cut"])
    (lost,) = claim_and_die(tmp_path / "outbox.db", "box", clock.now)
    outbox.recover(clock.now)
    owe(outbox, clock, numbered(10, 1000))
    make(box=box).drain()

    assert box.singles == ["job/cut"]
    assert box.tried[lost.id] == 1
    assert [len(digest) for digest in box.digests] == [10]


def test_what_may_have_arrived_keeps_its_name_when_a_person_sends_it_again(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X03, X04: `revive` makes it wait again like any other, and yet an earlier copy may lie with its reader."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    owe(outbox, clock, ["cut"])
    (lost,) = claim_and_die(tmp_path / "outbox.db", "box", clock.now)
    outbox.recover(clock.now)
    outbox.revive([lost.id])
    owe(outbox, clock, numbered(10, 1000))
    make(box=box).drain()

    assert box.singles == ["job/cut"]
    assert box.tried[lost.id] == 1


def test_a_moment_that_the_other_side_named_holds_in_a_storm_as_well(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """G10: a digest is no way around `Retry-After`."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    owe(outbox, clock, ["slow"])
    asked = Verdict("pending", not_before=clock.now + 5000.0, refusal=True)
    outbox.failed(claim(outbox, "box", clock.now, by="before"), clock.now, Failure.NOT_NOW, "429", asked)
    owe(outbox, clock, numbered(10, 1000))
    dispatcher = make(box=box)
    dispatcher.drain()
    clock.advance(4999)
    dispatcher.drain()
    assert "job/slow" not in [*box.singles, *(entity for digest in box.digests for entity in digest)]
    assert outbox.counts() == tally(waiting=1, sent=201, notifications=210, failed=1)
    clock.advance(2)
    dispatcher.drain()

    assert outbox.counts() == tally(sent=202, notifications=211)


def test_the_news_of_one_job_stay_in_order_in_a_storm(make: Make, outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    """X06: while the first word about a job is under way, no digest brings the second."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(199))
    box.held["job/x"] = threading.Event()
    dispatcher = make(box=box)
    owe(outbox, clock, ["x"])
    dispatcher.start()
    wait_until(lambda: outbox.state_of(owed(submitted("x")).id) == {owed(submitted("x")).id: "sending"})
    done = Event(Kind.JOB_COMPLETED, "job/x", "T2", "", {"name": "x", "submitter": FLOOD})
    outbox.put([done], [owed(done)], clock.now)
    owe(outbox, clock, numbered(10, 1000))
    dispatcher.poke()
    try:
        wait_until(lambda: box.digests)
        assert [sorted(digest) for digest in box.digests] == [[f"job/{name}" for name in numbered(10, 1000)]]
        assert box.singles == []
    finally:
        box.held["job/x"].set()
    clock.advance(TEN_MINUTES)
    dispatcher.poke()

    wait_until(lambda: outbox.counts() == tally(sent=202, notifications=211))
    about_x = [(entities(message), is_digest(message)) for message in box.got if "job/x" in entities(message)]
    assert about_x[0] == (["job/x"], False)
    assert len(about_x) == 2


def test_the_news_of_one_job_that_wait_together_are_in_one_digest_in_order(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X06"""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    done = Event(Kind.JOB_COMPLETED, "job/x", "T2", "", {"name": "x", "submitter": FLOOD})
    owe(outbox, clock, ["x"])
    outbox.put([done], [owed(done)], clock.now)
    make(box=box).drain()

    (digest,) = box.got
    assert entities(digest) == ["job/x", "job/x"]
    assert digest.text.index("has ended since") < digest.text.index("is done")


def test_later_news_of_a_gathered_job_wait_for_its_digest(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X06: they come after the storm, when single messages may go, and yet not before it."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200), ago=550.0)
    dispatcher = make(box=box)
    owe(outbox, clock, ["first"])
    dispatcher.drain()
    owe(outbox, clock, ["x"])
    dispatcher.drain()
    clock.advance(60)  # the window is empty, the digest waits for 540 s more
    done = Event(Kind.JOB_COMPLETED, "job/x", "T2", "", {"name": "x", "submitter": FLOOD})
    outbox.put([done], [owed(done)], clock.now)
    owe(outbox, clock, ["y"])
    dispatcher.drain()
    assert (box.digests, box.singles) == ([["job/first"]], ["job/y"])
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert (box.digests, box.singles) == ([["job/first"], ["job/x"]], ["job/y", "job/x"])


@pytest.mark.parametrize("failure", [Failure.NOT_NOW, Failure.UNKNOWN])
def test_a_digest_that_fails_comes_again_as_the_same_one(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path, failure: Failure
) -> None:
    """X03: the same things under the same id; what came meanwhile is not put into it."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    box.faults["digest"] = [DeliveryError(failure, "not well")]
    dispatcher = make(box=box)
    owe(outbox, clock, numbered(10, 1000))
    dispatcher.drain()
    (name,) = box.tried
    clock.advance(1.0)
    owe(outbox, clock, numbered(10, 2000))
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert box.tried[name] == 2
    (same,) = [message for message in box.got if message.id == name]
    assert sorted(entities(same)) == [f"job/{name}" for name in numbered(10, 1000)]
    assert outbox.counts().notifications == 220


def test_what_did_not_arrive_does_not_count(make: Make, outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    """X06: a reader who got nothing has not had enough."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(150))
    names = numbered(60, 1000)
    # Never three in a row, which would pause the transport.
    refused = [name for number, name in enumerate(names) if number % 3 < 2]
    box.faults = {f"job/{name}": [DeliveryError(Failure.REFUSED, "554")] for name in refused}
    dispatcher = make(max_concurrent=1, box=box)
    owe(outbox, clock, names)
    dispatcher.drain()
    owe(outbox, clock, numbered(20, 2000))
    dispatcher.drain()

    assert (len(box.singles), box.digests) == (40, [])


def test_a_digest_goes_out_by_the_transport_that_each_thing_waits_for(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """X06, N16: one reader, two ways, both in the same ten minutes."""
    one, two = Mailbox(), Mailbox()
    had(outbox, clock, tmp_path, numbered(200), via="one")
    dispatcher = make(one=one, two=two)
    owe(outbox, clock, ["first"], via="one")
    dispatcher.drain()
    clock.advance(10)
    owe(outbox, clock, ["by-one"], via="one")
    owe(outbox, clock, ["by-two"], via="two")
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert one.digests == [["job/first"], ["job/by-one"]]
    assert [entities(message) for message in two.got] == [["job/by-two"]]


def test_one_whose_retries_are_used_up_does_not_take_the_digest_with_it(
    make: Make, outbox: Outbox, clock: Clock, tmp_path: Path
) -> None:
    """G10, X06: `max_retries` counts for each notification, also for those that were gathered with an old one."""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    owe(outbox, clock, ["old"])
    outbox.failed(
        claim(outbox, "box", clock.now, by="before"),
        clock.now,
        Failure.NOT_NOW,
        "503",
        Verdict("pending", refusal=True),
    )
    box.faults["digest"] = [DeliveryError(Failure.NOT_NOW, "503")]
    dispatcher = make(box=box)  # of one retry
    owe(outbox, clock, numbered(10, 1000))
    dispatcher.drain()

    assert outbox.counts().dead <= 1, "nothing but the one that had its retry is given up"
    clock.advance(TEN_MINUTES)
    dispatcher.drain()
    assert outbox.counts().notifications == 210 + 1 - outbox.counts().dead


def test_a_clock_that_was_set_back_holds_nobodys_mail(make: Make, outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    """Promise 4"""
    box = Mailbox()
    had(outbox, clock, tmp_path, numbered(200))
    dispatcher = make(box=box)
    owe(outbox, clock, numbered(5, 1000))
    dispatcher.drain()
    owe(outbox, clock, numbered(5, 2000))
    dispatcher.drain()
    clock.now -= 365 * 86400
    owe(outbox, clock, numbered(5, 3000))
    dispatcher.drain()
    clock.advance(TEN_MINUTES)
    dispatcher.drain()

    assert [len(digest) for digest in box.digests] == [5, 5]
    assert sorted(box.singles) == [f"job/{name}" for name in numbered(5, 3000)]


def test_the_messages_of_the_last_minutes_are_found_again(outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    """X06: what was sent or may have been, each message once, a digest as one."""
    had(outbox, clock, tmp_path, ["old"], ago=700.0)
    had(outbox, clock, tmp_path, ["young"], ago=100.0)
    had(outbox, clock, tmp_path, ["theirs"], ago=50.0, to=OTHER)
    for name, failure in (("refused", Failure.REFUSED), ("later", Failure.NOT_NOW), ("cut", Failure.UNKNOWN)):
        owe(outbox, clock, [name])
        verdict = Verdict("unknown" if failure is Failure.UNKNOWN else "dead")
        outbox.failed(claim(outbox, "box", clock.now, by="me"), clock.now, failure, "", verdict)
    clock.advance(10)
    outbox.sent(claim(outbox, "box", clock.now, by="me"), clock.now)
    bundle = [submitted(name) for name in ("b1", "b2", "b3")]
    outbox.put(bundle, [Notification(e.key, e.entity, READER, Audience.OWNER, "box", bundle="b") for e in bundle], 0.0)
    digest = claim(outbox, "box", clock.now, by="me")
    assert len(digest) == 3
    outbox.sent(digest, clock.now)

    found = outbox.messages_since(clock.now - 600.0)
    assert {(message.recipient, message.bundle, message.at) for message in found} == {
        (READER, "", clock.now - 110.0),
        (OTHER, "", clock.now - 60.0),
        (READER, "", clock.now),
        (READER, digest[0].bundle, clock.now),
    }
    assert found == sorted(found, key=lambda message: message.at)
