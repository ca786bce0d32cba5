"""Who sends when? Claims from the outbox, words, hands to a transport; threads, limits, order.

Each transport has its own pace and its own troubles; what they share is `max_concurrent` permits. A permit is held by
an attempt alone, never by a wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import jinja2

from syftnotify.deliver import Transport
from syftnotify.deliver.policy import Decision, Standing, decide
from syftnotify.errors import DeliveryError, Failure, StateError
from syftnotify.events import standing
from syftnotify.failpoints import reached
from syftnotify.model import HELD, Gathering, Kind, Message, Receipt
from syftnotify.outbox import Due, Outbox, Verdict
from syftnotify.render import Item, Words
from syftnotify.storms import Limit, Storms
from syftnotify.text import shown

log = logging.getLogger(__name__)

# People's words for what became of an attempt.
_WORDS = {
    Failure.NO_ANSWER: "FAILED_TRANSPORT",
    Failure.SIGN_IN: "FAILED_TRANSPORT",
    Failure.RENEWED: "FAILED_TRANSPORT",
    Failure.UNKNOWN: "FAILED_TRANSPORT",
    Failure.NOT_NOW: "FAILED_DELIVERY",
    Failure.HELD: "FAILED_DELIVERY",
    Failure.REFUSED: "FAILED_DELIVERY",
    Failure.GONE: "FAILED_DELIVERY",
}
_UNWRITABLE = (ValueError, TypeError, OverflowError)  # what SQLite's driver says of a text or number that is none
_LONGEST_NAP = 60.0  # seconds between two looks into the outbox, whatever it said was due
_TROUBLE_NAP = 5.0  # seconds to wait when the outbox itself failed


@dataclass(slots=True)
class Lane:
    """One transport with its pace and its troubles."""

    name: str
    transport: Transport
    wording: Words
    rate: float | None = None  # messages a second; None: no limit
    burst: int = 1
    max_retries: int | None = None
    threads: bool = False  # whether the provider has conversations, and says to which one a message belongs
    gathers: bool = True  # whether who reads it is a person, who can have enough
    resend_unknown: bool = True  # else what may have arrived waits for a person's word
    in_flight: int = 0
    silences: int = 0  # attempts in a row that got no answer
    is_doubted: bool = False  # none has succeeded since an attempt got no answer
    rests_until: float = 0.0  # on the monotonic clock: wall clocks jump
    problem: str = ""  # why it rests until a person acts
    signs_in: bool = True  # False while the problem is its sign-in, which can be tried without a message
    tokens: float = field(default=0.0)
    filled_at: float = field(default=0.0)

    @property
    def is_well(self) -> bool:
        """Whether its last attempts had no trouble."""
        return self.signs_in and not (self.silences or self.is_doubted or self.rests_until or self.problem)

    def wait(self, monotonic: float) -> float:
        """Seconds until this lane may start another attempt."""
        if self.rate is None:
            return max(0.0, self.rests_until - monotonic)
        if not self.filled_at:
            self.tokens, self.filled_at = float(self.burst), monotonic
        self.tokens = min(float(self.burst), self.tokens + (monotonic - self.filled_at) * self.rate)
        self.filled_at = monotonic
        return max(0.0, self.rests_until - monotonic, (1.0 - self.tokens) / self.rate if self.tokens < 1.0 else 0.0)

    def start(self) -> None:
        self.in_flight += 1
        if self.rate is not None:
            self.tokens -= 1.0


class Dispatcher:
    """Delivers what the outbox holds, in threads of its own between `start` and `stop`, or at once by `drain`."""

    def __init__(
        self,
        outbox: Outbox,
        lanes: Mapping[str, Lane],
        *,
        me: str,
        max_concurrent: int = 16,
        limits: Sequence[Limit] = (Limit(),),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
        on_trouble: Callable[[str, str], None] = lambda _name, _why: None,
    ) -> None:
        self._outbox = outbox
        self._lanes = dict(lanes)
        self._me = me
        self._max = max_concurrent
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._state = threading.Condition()
        self._stopping = False
        self._poked = True
        self._pool = ThreadPoolExecutor(max_workers=max_concurrent, thread_name_prefix="send")
        self._thread: threading.Thread | None = None
        self._nap = 0.0
        self._unsaved: deque[Callable[[], None]] = deque()  # outcomes that the outbox has not taken yet
        self._storms: Storms | None = None  # who was sent how much lately; read from the outbox at the first claim
        self.last_error = ""

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The transports by name, with how they fare."""
        return self._lanes

    def add(self, lane: Lane) -> None:
        """One more transport, from now on."""
        with self._state:
            self._lanes = {**self._lanes, lane.name: lane}

    def start(self) -> None:
        """Deliver from now on, in the background."""
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        for lane in self._lanes.values():
            self._start_check(lane)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the background thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def poke(self) -> None:
        """Something was put into the outbox."""
        with self._state:
            self._poked = True
            self._state.notify_all()

    def stop(self, seconds: float | None = None) -> bool:
        """Start no more attempts and wait for those under way; returns whether all ended within `seconds`."""
        until = None if seconds is None else time.monotonic() + seconds
        with self._state:
            self._stopping = True
            self._state.notify_all()
        if self._thread is not None:  # what it is just claiming is still begun, and what comes of it written down
            self._thread.join(timeout=seconds)
        with self._state:
            left = None if until is None else max(0.0, until - time.monotonic())
            ended = self._state.wait_for(lambda: not self._busy(), timeout=left) and not self.is_alive
        if ended:
            try:
                self._save_outcomes()
            except StateError as error:
                log.error("an outcome could not be written down: %s", error)
        self._pool.shutdown(wait=ended, cancel_futures=True)
        if ended:
            for lane in self._lanes.values():
                lane.transport.close()
        return ended

    def drain(self) -> None:
        """Attempt everything that is due now, once, and return when it is done."""
        until = self._clock()
        while True:
            self._poked = False
            nap = self._turn(until)
            with self._state:
                if nap is None and not self._busy() and not self._poked:  # else one that ended let the next one go
                    return
                # A pace or a permit is waited for; a rest or a backoff is not due now.
                self._state.wait_for(lambda: self._poked, timeout=nap)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            with self._state:
                self._state.wait_for(lambda: self._poked or self._is_over(), timeout=self._nap)
                self._poked = False
                is_over = self._is_over()  # what came of the last attempts is still written down
            self._nap = self._next_nap()

    def _is_over(self) -> bool:
        return self._stopping and not self._busy()

    def _next_nap(self) -> float:
        try:
            nap = self._turn(None)
            if self._stopping:  # the end of an attempt wakes us
                return _LONGEST_NAP
            if nap is not None:
                return nap
            now, monotonic = self._clock(), self._monotonic()
            naps = []
            for lane in self._lanes.values():
                if self._room(lane) <= 0:  # the end of an attempt wakes us
                    continue
                due = self._outbox.next_due(lane.name, now, resend=lane.resend_unknown)
                if due is not None:
                    naps.append(max(due - now, lane.wait(monotonic)))
                elif lane.problem:
                    naps.append(lane.wait(monotonic))
        except StateError as error:
            self.last_error = str(error)
            log.error("the outbox cannot be used: %s", error)
            return _TROUBLE_NAP
        return min([_LONGEST_NAP, *(max(0.05, nap) for nap in naps)])

    def _busy(self) -> bool:
        return any(lane.in_flight for lane in self._lanes.values())

    def _turn(self, until: float | None) -> float | None:
        """Write down what ended and start what may start; returns seconds until more is to be done, if it knows."""
        if not self._busy():
            self._save_outcomes()
        try:
            nap = self._start_due(until)
        finally:
            # While others are under way the next ones go first: what ended would hold them up for a sync of the disk.
            is_news = self._save_outcomes()
        return 0.0 if is_news else nap  # one that ended may let the next one go

    def _start_due(self, until: float | None) -> float | None:
        """Start every attempt that may start; returns seconds until a pace allows the next, None when nothing waits.

        With `until`, rows that fall due after that moment are left alone, and so are lanes that rest.
        """
        waits: list[float] = []
        progress = True
        while progress and not self._stopping:
            progress = False
            for lane in self._lanes.values():
                if until is None and not lane.signs_in and not lane.wait(self._monotonic()) and not lane.in_flight:
                    self._start_check(lane)
                if sum(other.in_flight for other in self._lanes.values()) >= self._max:
                    return _LONGEST_NAP  # the end of an attempt wakes us
                room = self._room(lane)
                if room <= 0:
                    continue
                now, monotonic = self._clock(), self._monotonic()
                wait = lane.wait(monotonic)
                if wait > 0.0:
                    if lane.rests_until <= monotonic and self._has_due(lane, until):
                        waits.append(wait)
                    continue
                moment = now if until is None else min(now, until)
                for due in self._claimed(lane, moment, room if lane.rate is None else 1):
                    with self._state:
                        lane.start()
                    self._pool.submit(self._attempt, lane, due, moment)
                    progress = True
            # What ended meanwhile made room again, for ever where the other side is quick: first it is written down.
            progress = progress and not self._unsaved
        return min(waits) if waits else None

    def _claimed(self, lane: Lane, now: float, most: int) -> list[list[Due]]:
        """The next messages of a lane, noted as ones that their recipients get."""
        if self._storms is None:
            storms = Storms(self._limits)
            for message in self._outbox.messages_since(now - max(limit.within for limit in self._limits)):
                storms.note(*message)
            self._storms = storms
        storms = self._storms
        claim = partial(self._outbox.claim, lane.name, now, by=self._me, most=most, resend=lane.resend_unknown)
        if not lane.gathers:
            return claim()

        def full(recipient: str, kind: Kind) -> Gathering | None:
            with self._state:
                return storms.gathering(recipient, lane.name, now, kind)

        noted: list[tuple[str, str]] = []

        def note(recipient: str, bundle: str) -> None:
            noted.append((recipient, bundle))
            with self._state:
                storms.note(recipient, bundle, now)

        try:
            return claim(full=full, note=note)
        except StateError:
            with self._state:
                for recipient, bundle in noted:  # messages that nobody gets
                    storms.take_back(recipient, bundle, now)
            raise

    def _has_due(self, lane: Lane, until: float | None) -> bool:
        now = self._clock()
        due = self._outbox.next_due(lane.name, now, resend=lane.resend_unknown)
        return due is not None and due <= (now if until is None else until)

    def _permits(self, lane: Lane) -> int:
        """How many attempts a lane may have under way: one after silence; half of all, where there are other lanes.

        Half even while the others are idle: an attempt that hangs cannot be taken back when they get work.
        """
        if lane.is_doubted or lane.problem:
            return 1
        return self._max if len(self._lanes) == 1 else max(1, self._max // 2)

    def _room(self, lane: Lane) -> int:
        """How many more attempts a lane may start.

        Every lane that has nothing under way would still find a permit, however many hang.
        """
        free = self._max - sum(other.in_flight for other in self._lanes.values())
        idle = sum(1 for other in self._lanes.values() if other is not lane and not other.in_flight)
        return min(self._permits(lane) - lane.in_flight, free, max(free - idle, 0 if lane.in_flight else 1))

    def _start_check(self, lane: Lane) -> None:
        with self._state:
            lane.in_flight += 1
        self._pool.submit(self._check, lane)

    def _check(self, lane: Lane) -> None:
        """Sign in without a message: a dead sign-in is known before the first mail, and a mended one by itself."""
        try:
            lane.transport.check()
        except DeliveryError as error:
            lane.signs_in = error.failure is not Failure.SIGN_IN
            self._rest(lane, error, decide(error.failure, Standing(0, 0, None), now=self._clock()))
        else:
            if not lane.signs_in:
                self._works(lane)
        finally:
            self._finish(lane)

    def _attempt(self, lane: Lane, due: list[Due], claimed_at: float) -> None:
        """One attempt, from wording to its outcome. Nothing may escape: the row would stay claimed."""
        began = False
        try:
            reached("attempt.claimed")
            message = self._worded(lane, due)
            began = True
            receipt = lane.transport.send(message)
            reached("attempt.handed_over")
        except DeliveryError as error:
            self._note_failure(lane, due, error)
            if self._storms is not None and lane.gathers and error.failure is not Failure.UNKNOWN:
                with self._state:
                    self._storms.take_back(due[0].recipient, due[0].bundle, claimed_at)
        except Exception as error:  # one poisoned message must stop nothing else; the traceback says what to mend
            log.exception("notification of %s: unexpected error in the attempt", shown(due[0].event.entity))
            failure = Failure.UNKNOWN if began else Failure.NOT_NOW
            self._note_failure(lane, due, DeliveryError(failure, f"unexpected {type(error).__name__}, see the log"))
        else:
            self._note_success(lane, due, receipt)
        finally:
            self._finish(lane)

    def _finish(self, lane: Lane) -> None:
        with self._state:
            lane.in_flight -= 1
            self._poked = True
            self._state.notify_all()
        self._on_change()

    def _worded(self, lane: Lane, due: Sequence[Due]) -> Message:
        first = due[0]
        items = [Item(item.id, item.event, item.audience, standing(item.kinds), item.created_at) for item in due]
        asks = lane.threads and not first.bundle
        thread = self._outbox.thread_of(first.event.entity, first.recipient, lane.name) if asks else ""
        try:
            # What quiet hours held comes as itself where it is alone.
            is_alone = len(due) == 1 and first.bundle.startswith(HELD)
            digest = first.message_id if first.bundle and not is_alone else ""
            return lane.wording.message(items, first.recipient, thread=thread, digest=digest)
        except jinja2.TemplateError as error:
            raise DeliveryError(Failure.NOT_NOW, f"the template cannot be used: {shown(str(error))}") from error

    def _note_success(self, lane: Lane, due: Sequence[Due], receipt: Receipt) -> None:
        now = self._clock()
        self._record(lambda: self._outbox.sent(due, now, provider_id=receipt.provider_id, thread=receipt.thread))
        self._works(lane)
        self._log(logging.INFO, "SENT", lane, due, "")

    def _works(self, lane: Lane) -> None:
        if lane.is_well:
            return
        with self._state:
            lane.silences, lane.is_doubted, lane.rests_until, lane.signs_in = 0, False, 0.0, True
            recovered, lane.problem = lane.problem, ""
        if recovered:
            log.info("transport %s works again", lane.name)

    def _note_failure(self, lane: Lane, due: Sequence[Due], error: DeliveryError) -> None:
        now = self._clock()
        with self._state:
            is_silent = error.failure in {Failure.NO_ANSWER, Failure.UNKNOWN}
            lane.silences = lane.silences + 1 if is_silent else 0
            lane.is_doubted = lane.is_doubted or is_silent
        hint = error.not_before.timestamp() - now if error.not_before else None

        def decided(items: Sequence[Due]) -> Decision:
            tried = [item.first_failed_at for item in items if item.first_failed_at is not None]
            return decide(
                error.failure,
                Standing(
                    max(item.failures for item in items),
                    max(item.refusals for item in items),
                    min(tried) if tried else None,
                ),
                now=now,
                hint=hint,
                max_retries=lane.max_retries,
                silences=lane.silences or 1,
            )

        # Each has its own limit. What is left of a digest is one message with one decision, and goes on leaving so.
        over = [item for item in due if decided([item]).gives_up]
        rest = [item for item in due if item not in over]
        decision = decided(rest or over)
        self.last_error = f"{lane.name}: {error}"
        for items, level in ((over, logging.ERROR), (rest, logging.WARNING)):
            if items:
                verdict = _verdict(error.failure, decided(items), now)
                self._record(partial(self._outbox.failed, items, now, error.failure, str(error), verdict))
                self._log(level, _WORDS[error.failure], lane, items, f" ({error.failure.value}): {error}")
        if error.failure is Failure.SIGN_IN:
            lane.signs_in = self._can_sign_in(lane)
        self._rest(lane, error, decision)

    @staticmethod
    def _can_sign_in(lane: Lane) -> bool:
        """Whether a sign-in alone succeeds: then only a send that succeeds shows that the trouble is over."""
        try:
            lane.transport.check()
        except DeliveryError as error:
            return error.failure is not Failure.SIGN_IN
        return True

    def _rest(self, lane: Lane, error: DeliveryError, decision: Decision) -> None:
        """What a failure means for the whole lane; of one that only a person can end, others are told, once."""
        with self._state:
            if decision.transport_wait:
                lane.rests_until = self._monotonic() + decision.transport_wait
            paused = decision.pauses and not lane.problem
            if decision.pauses:
                lane.problem = str(error)
        if paused:
            self.last_error = f"{lane.name}: {error}"
            log.error("transport %s is paused: %s; nothing is dropped", lane.name, error)
            self._on_trouble(lane.name, str(error))

    def _record(self, write: Callable[[], None]) -> None:
        """An outcome waits to be written down, by the one thread that claims: until then its conversation stands."""
        self._unsaved.append(write)

    def _save_outcomes(self) -> bool:
        """Write down what came of attempts; returns whether there was any.

        Raises:
            StateError: the outbox takes none now; they are kept.
        """
        outcomes = list(self._unsaved)  # others may come meanwhile
        if not outcomes:
            return False
        try:
            with self._outbox.together():
                for write in outcomes:
                    write()
        except _UNWRITABLE:
            self._save_one_by_one(outcomes)
        else:
            for _ in outcomes:
                self._unsaved.popleft()
        self._on_change()
        return True

    def _save_one_by_one(self, outcomes: Sequence[Callable[[], None]]) -> None:
        """One of them may be at fault, and holds back no other."""
        for write in outcomes:
            try:
                write()
            except _UNWRITABLE as error:  # it would fail for ever: the next start takes its message for unknown
                self.last_error = f"an outcome cannot be written down: {error}"
                log.exception("an outcome cannot be written down")
            self._unsaved.popleft()

    def _log(self, level: int, word: str, lane: Lane, due: Sequence[Due], more: str) -> None:
        for item in due:
            log.log(
                level,
                "notification %s: %s to %s (%s) through %s, attempt %d, %s%s",
                word,
                item.event.kind.value,
                item.recipient,
                item.audience.value,
                lane.name,
                item.failures + 1,
                item.event.entity,
                more,
            )


def _verdict(failure: Failure, decision: Decision, now: float) -> Verdict:
    state = "unknown" if failure is Failure.UNKNOWN else "pending"
    return Verdict(
        state="dead" if decision.gives_up else state,
        not_before=now + decision.wait if decision.wait else 0.0,
        counts=decision.counts,
        refusal=decision.refusal,
    )
