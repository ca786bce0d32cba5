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
from dataclasses import dataclass, field, replace
from functools import partial

import jinja2

from syftnotify.deliver import Transport
from syftnotify.deliver.policy import (
    GONE_REST,
    LONGEST_WAIT,
    OUTCOME_LABELS,
    SIGN_IN_PROBE,
    Decision,
    Standing,
    backoff,
    decide,
)
from syftnotify.errors import DeliveryError, Failure, StateError
from syftnotify.events import standing
from syftnotify.failpoints import reached
from syftnotify.model import HELD, Gathering, Kind, Message, Receipt
from syftnotify.outbox import Due, Outbox, Verdict
from syftnotify.render import Item, Words
from syftnotify.storms import DailyShare, Limit, Storms
from syftnotify.text import iso, plural, shown

log = logging.getLogger(__name__)

_UNWRITABLE = (ValueError, TypeError, OverflowError)  # what SQLite's driver says of a text or number that is none
_LONGEST_TIMEOUT = 60.0  # seconds between two readings of the outbox, whatever is due
_ERROR_TIMEOUT = 5.0  # seconds to wait when the outbox itself failed
# Seconds without a success after which a transport counts as unreachable, in status and alerts.
UNREACHABLE_SECONDS = 120.0
# So many different messages in a row that got the same kind of answer: it concerns the transport, not the message.
_IN_A_ROW = 3
_CLOCK_SET_BACK = 60.0  # seconds


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
    daily_limit: int | None = None  # messages in 24 hours; None: no limit
    silences: int = 0  # attempts in a row that got no answer
    is_doubted: bool = False  # none has succeeded since an attempt got no answer
    # Ids of the messages that were rejected, and of those that were put off, in a row.
    rejected: list[str] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    hides_outcomes: bool = False  # accepts requests, and none has succeeded since one had an unknown outcome
    is_gone: bool = False  # a message was answered with GONE
    unreachable_since: float | None = None  # seconds since 1970; None while the last attempt succeeded
    unreachable_at: float = 0.0  # the same on the monotonic clock
    last_failure: str = ""
    rests_until: float = 0.0  # on the monotonic clock: wall clocks jump
    problem: str = ""  # why it rests until a person acts
    signs_in: bool = True  # False while the problem is its sign-in, which can be tried without a message
    tokens: float = field(default=0.0)
    filled_at: float = field(default=0.0)

    @property
    def is_well(self) -> bool:
        """Whether its last attempts had no trouble."""
        in_doubt = self.silences or self.is_doubted or self.rejected or self.deferred or self.is_gone
        return self.signs_in and not (in_doubt or self.rests_until or self.problem or self.unreachable_since)

    def trouble(self, monotonic: float) -> str:
        """Why it cannot send, for a person; empty while it can, or failed for less than two minutes."""
        if self.problem or self.unreachable_since is None or monotonic - self.unreachable_at < UNREACHABLE_SECONDS:
            return self.problem
        return f"unreachable since {iso(self.unreachable_since)}: {self.last_failure}"

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
    ) -> None:
        self._outbox = outbox
        self._lanes = dict(lanes)
        self._me = me
        self._max = max_concurrent
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._on_change = on_change
        self._state = threading.Condition()
        self._stopping = False
        self._poked = True
        self._pool = ThreadPoolExecutor(max_workers=max_concurrent, thread_name_prefix="send")
        self._thread: threading.Thread | None = None
        self._timeout = 0.0
        # Outcomes that the outbox has not saved yet: the ids of their notifications, and what saves them.
        self._unsaved: deque[tuple[frozenset[str], Callable[[], None]]] = deque()
        self._storms: Storms | None = None  # who was sent how much lately; read from the outbox at the first claim
        self._shares: dict[str, DailyShare] = {}  # by transport, likewise
        self._unsubmitted: deque[Callable[[], None]] = deque()  # attempts that are claimed and not begun
        self._clock_ahead: float | None = None  # wall clock minus monotonic clock, as last seen
        self.last_error = ""
        self.failures = 0  # turns in a row that failed

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
            is_busy = self._busy()
            self._state.notify_all()
        if is_busy:
            log.info("stopping: finishing the sends in flight")
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
            timeout = self._turn(until)
            with self._state:
                if timeout is None and not self._busy() and not self._poked:  # else one that ended let the next one go
                    return
                # A pace or a permit is waited for; a rest or a backoff is not due now.
                self._state.wait_for(lambda: self._poked, timeout=timeout)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            with self._state:
                self._state.wait_for(lambda: self._poked or self._is_over(), timeout=self._timeout)
                self._poked = False
                is_over = self._is_over()  # what came of the last attempts is still written down
            self._timeout = self._next_timeout()

    def _is_over(self) -> bool:
        return self._stopping and not self._busy()

    def _next_timeout(self) -> float:
        """Do what is due; returns the seconds until the next turn. Never raises: the outermost loop of the thread."""
        try:
            timeout = self._next_due()
        except StateError as error:
            self.last_error = str(error)
            log.error("the outbox cannot be used: %s", error)
        except Exception as error:  # for example no memory or threads: temporary, and no other thread delivers
            self.last_error = f"unexpected {type(error).__name__} in the dispatcher"
            log.exception("unexpected error in the dispatcher")
            self._recover()
        else:
            self.failures = 0
            return timeout
        self.failures += 1
        self._on_change()
        return _ERROR_TIMEOUT

    def _recover(self) -> None:
        """What was claimed when the error came, and is in no thread's hands, is unknown: it is sent again."""
        try:
            lost = self._outbox.recover(self._clock())
        except Exception:  # as above; the next start recovers it
            log.exception("claimed notifications cannot be recovered now")
        else:
            if lost:
                log.warning("notification: %d attempts were cut off by an error and may have arrived", lost)

    def _next_due(self) -> float:
        timeout = self._turn(None)
        if self._stopping:  # the end of an attempt wakes us
            return _LONGEST_TIMEOUT
        if timeout is not None:
            return timeout
        now, monotonic = self._clock(), self._monotonic()
        timeouts = []
        for lane in self._lanes.values():
            if self._room(lane) <= 0:  # the end of an attempt wakes us
                continue
            due = self._outbox.next_due(lane.name, now, resend=lane.resend_unknown)
            if due is not None:
                timeouts.append(max(due - now, lane.wait(monotonic)))
            elif wait := lane.wait(monotonic):  # then a check may be due; one that is due has begun
                timeouts.append(wait)
        return min([_LONGEST_TIMEOUT, *(max(0.05, timeout) for timeout in timeouts)])

    def _busy(self) -> bool:
        return any(lane.in_flight for lane in self._lanes.values())

    def _turn(self, until: float | None) -> float | None:
        """Write down what ended and start what may start; returns seconds until more is to be done, if it knows."""
        self._check_clock()
        if not self._busy():
            self._save_outcomes()
        try:
            timeout = self._start_due(until)
        finally:
            # While others are under way the next ones go first: what ended would hold them up for a sync of the disk.
            is_news = self._save_outcomes()
        return 0.0 if is_news else timeout  # one that ended may let the next one go

    def _check_clock(self) -> None:
        """At the start, and when the clock was set back, waits that a wrong clock made too long are bounded."""
        ahead = self._clock() - self._monotonic()
        if self._clock_ahead is None or self._clock_ahead - ahead > _CLOCK_SET_BACK:
            if moved := self._outbox.bound_waits(self._clock()):
                log.warning("the clock was set back: %s waited too long", plural(moved, "notification"))
            self._clock_ahead = ahead
        self._clock_ahead = max(self._clock_ahead, ahead)

    def _start_due(self, until: float | None) -> float | None:
        """Start every attempt that may start; returns seconds until a pace allows the next, None when nothing waits.

        With `until`, rows that fall due after that moment are left alone, and so are lanes that rest.
        """
        self._submit_claimed()
        waits: list[float] = []
        progress = True
        while progress and not self._stopping:
            progress = False
            for lane in self._lanes.values():
                if until is None and self._wants_check(lane):
                    self._start_check(lane)
                if sum(other.in_flight for other in self._lanes.values()) >= self._max:
                    return _LONGEST_TIMEOUT  # the end of an attempt wakes us
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
                    self._unsubmitted.append(partial(self._begin, lane, due, moment))
                    progress = True
                self._submit_claimed()
            # What ended meanwhile made room again, for ever where the other side is quick: first it is written down.
            progress = progress and not self._unsaved
        return min(waits) if waits else None

    def _submit_claimed(self) -> None:
        """Begin what is claimed; an error leaves the rest to the next turn."""
        while self._unsubmitted:
            self._unsubmitted[0]()
            self._unsubmitted.popleft()

    def _begin(self, lane: Lane, due: list[Due], claimed_at: float) -> None:
        attempt = _Once(partial(self._attempt, lane, due, claimed_at))
        with self._state:
            lane.start()
        self._submit(attempt)

    def _submit(self, once: _Once) -> None:
        """Do it in a thread of the pool, or in this one where the system gives no more threads."""
        try:
            self._pool.submit(once)
        except (RuntimeError, MemoryError) as error:
            # The pool has queued it all the same: whichever thread takes it first does it.
            log.warning("no thread can be started (%s); sending one at a time", error)
            once()

    def _wants_check(self, lane: Lane) -> bool:
        """Whether a sign-in or a connection, without a message, shows that a transport has recovered."""
        if lane.in_flight or lane.wait(self._monotonic()):
            return False
        if not lane.signs_in:
            return True
        if lane.unreachable_since is None:
            return False
        now = self._clock()
        due = self._outbox.next_due(lane.name, now, resend=lane.resend_unknown)
        # A queued message shows more than a connection does: at once if it is due, and later if only messages failed.
        return due is None or (due > now and not lane.deferred and not lane.hides_outcomes)

    def _claimed(self, lane: Lane, now: float, most: int) -> list[list[Due]]:
        """The next messages of a lane, recorded as ones that their recipients get."""
        claim = partial(self._outbox.claim, lane.name, now, by=self._me, most=most, resend=lane.resend_unknown)
        if not lane.gathers:
            return claim()
        throttle = _LaneThrottle(lane.name, now, self._state, self._throttles(), self._shares.get(lane.name))
        try:
            return claim(throttle=throttle)
        except BaseException:  # whatever it was, it goes on; the messages are not sent
            throttle.undo()
            raise

    def _throttles(self) -> Storms:
        """How much each recipient and each submitter was sent lately; read from the outbox once."""
        if self._storms is None:
            storms = Storms(self._limits)
            now = self._clock()
            limited = {lane.name: lane.daily_limit for lane in self._lanes.values() if lane.daily_limit is not None}
            shares = {name: DailyShare(limit) for name, limit in limited.items()}
            seconds = max([limit.within for limit in self._limits] + [86400.0] * bool(shares))
            for message in self._outbox.messages_since(now - seconds):
                storms.note(message.recipient, message.bundle, message.at)
                if message.transport in shares:
                    shares[message.transport].record(message.recipient, message.bundle, message.source, message.at)
            self._storms, self._shares = storms, shares
        return self._storms

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
        check = _Once(partial(self._check, lane))
        with self._state:
            lane.in_flight += 1
        self._submit(check)

    def _check(self, lane: Lane) -> None:
        """Sign in without a message: a dead sign-in is known before the first mail, and a mended one by itself."""
        try:
            lane.transport.check()
        except DeliveryError as error:
            lane.signs_in = error.failure is not Failure.SIGN_IN
            self._count(lane, error, "")
            decision = decide(error.failure, Standing(0, 0, None), now=self._clock(), silences=lane.silences or 1)
            self._rest(lane, str(error), decision)
        except Exception:  # as in an attempt: the transport would stay busy
            log.exception("unexpected error in the check of transport %s", lane.name)
        else:
            if not lane.signs_in:
                self._works(lane)
            else:  # it can be reached; whether it delivers, the next message shows
                lane.unreachable_since, lane.deferred, lane.hides_outcomes = None, [], False
        finally:
            self._finish(lane)

    def _attempt(self, lane: Lane, due: list[Due], claimed_at: float) -> None:
        """One attempt, from rendering to its outcome. Nothing may escape: the row would stay claimed."""
        try:
            self._attempt_once(lane, due, claimed_at)
        except Exception:  # for example no memory to record the outcome: it is unknown
            log.exception("notification of %s: its outcome cannot be recorded", shown(due[0].event.entity))
            unsaved = {name for ids, _ in list(self._unsaved) for name in ids}
            self._outbox.abandon({item.id for item in due} - unsaved)
            self._recover()
        finally:
            self._finish(lane)

    def _attempt_once(self, lane: Lane, due: list[Due], claimed_at: float) -> None:
        began = False
        try:
            reached("attempt.claimed")
            message = self._worded(lane, due)
            began = True
            receipt = lane.transport.send(message)
            reached("attempt.handed_over")
        except DeliveryError as error:
            self._note_failure(lane, due, error, is_answer=began)
            if self._storms is not None and lane.gathers and error.failure is not Failure.UNKNOWN:
                throttle = _LaneThrottle(lane.name, claimed_at, self._state, self._storms, self._shares.get(lane.name))
                throttle.undo([(due[0].recipient, due[0].bundle, _common_source(due))])
        except Exception as error:  # one bad message must stop nothing else; the traceback says what is wrong
            log.exception("notification of %s: unexpected error in the attempt", shown(due[0].event.entity))
            # Before the send it is the row or a template: nothing that another attempt would change.
            failure = Failure.UNKNOWN if began or isinstance(error, MemoryError) else Failure.REFUSED
            why = DeliveryError(failure, f"unexpected {type(error).__name__}, see the log")
            self._note_failure(lane, due, why, is_answer=False)
        else:
            self._note_success(lane, due, receipt)

    def _finish(self, lane: Lane) -> None:
        with self._state:
            lane.in_flight -= 1
            self._poked = True
            self._state.notify_all()
        self._on_change()

    def _worded(self, lane: Lane, due: Sequence[Due]) -> Message:
        first = due[0]
        items = [
            Item(item.id, item.event, item.audience, standing([item.last_kind or item.event.kind]), item.created_at)
            for item in due
        ]
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
        write = partial(self._outbox.sent, due, now, provider_id=receipt.provider_id, thread=receipt.thread)
        self._record(due, write)
        self._works(lane)
        self._log(logging.INFO, "SENT", lane, due, "")

    def _works(self, lane: Lane) -> None:
        if lane.is_well:
            return
        with self._state:
            recovered = lane.trouble(self._monotonic())
            lane.silences, lane.is_doubted, lane.rests_until, lane.signs_in = 0, False, 0.0, True
            lane.hides_outcomes = lane.is_gone = False
            lane.rejected, lane.deferred, lane.unreachable_since, lane.problem = [], [], None, ""
        if recovered:
            log.info("transport %s works again", lane.name)

    def _count(self, lane: Lane, error: DeliveryError, message_id: str) -> bool:
        """Note what a failure says about the transport itself. `message_id` is empty for a check.

        Rejections of one recipient have one id.

        Returns whether the message was rejected because every message is: more than `_IN_A_ROW` were, the transport
        is paused for it, or the transport is gone and another message showed it.
        """
        failure = error.failure
        with self._state:
            lane.last_failure = str(error)
            is_paused, was_gone = bool(lane.problem), lane.is_gone
            lane.is_gone = lane.is_gone or failure is Failure.GONE
            lane.hides_outcomes = lane.hides_outcomes or (failure is Failure.UNKNOWN and bool(message_id))
            if failure is Failure.REFUSED and message_id:
                lane.rejected = _with(lane.rejected, message_id)
            elif failure is Failure.NOT_NOW and message_id:
                lane.deferred = _with(lane.deferred, message_id)
            defers_all = failure is Failure.NOT_NOW and len(lane.deferred) >= _IN_A_ROW
            is_silent = failure in {Failure.NO_ANSWER, Failure.UNKNOWN} or defers_all
            lane.silences = lane.silences + 1 if is_silent else 0
            lane.is_doubted = lane.is_doubted or is_silent
            if is_silent and lane.unreachable_since is None:
                lane.unreachable_since, lane.unreachable_at = self._clock(), self._monotonic()
            elif failure in {Failure.REFUSED, Failure.RENEWED}:  # it answers
                lane.unreachable_since = None
            rejected = len(lane.rejected)
        if failure is Failure.GONE:
            return was_gone
        return failure is Failure.REFUSED and (rejected > _IN_A_ROW or (rejected == _IN_A_ROW and is_paused))

    def _note_failure(self, lane: Lane, due: Sequence[Due], error: DeliveryError, *, is_answer: bool) -> None:
        """Decide what becomes of `due`; `is_answer` says whether the other side, and not our own code, failed it."""
        now = self._clock()
        # A message that is rejected like all others is kept, and the next probe takes another one.
        is_answer = is_answer and not error.is_local
        # One recipient who does not exist says nothing about the transport, however many messages are rejected.
        about = f"to {due[0].recipient}" if error.is_about_recipient else due[0].message_id
        keeps = is_answer and self._count(lane, error, about)
        hint = error.not_before.timestamp() - now if error.not_before else None

        def decided(items: Sequence[Due]) -> Decision:
            if keeps:
                rest = GONE_REST if error.failure is Failure.GONE else SIGN_IN_PROBE
                return Decision(wait=LONGEST_WAIT, transport_wait=rest, pauses=True, counts=False)
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
                write = partial(self._outbox.failed, items, now, error.failure, str(error), verdict)
                self._record(items, write)
                self._log(level, OUTCOME_LABELS[error.failure], lane, items, f" ({error.failure.value}): {error}")
        if error.failure is Failure.SIGN_IN:
            lane.signs_in = self._can_sign_in(lane)
        why = str(error)
        if is_answer and error.failure is Failure.REFUSED and len(lane.rejected) >= _IN_A_ROW:
            why = f"the last messages were all rejected: {error}"
            decision = replace(decision, transport_wait=SIGN_IN_PROBE, pauses=True)
        elif is_answer and error.failure is Failure.NOT_NOW and lane.silences:
            decision = replace(decision, transport_wait=backoff(lane.silences))
        self._rest(lane, why, decision)

    @staticmethod
    def _can_sign_in(lane: Lane) -> bool:
        """Whether a sign-in alone succeeds: then only a send that succeeds shows that the trouble is over."""
        try:
            lane.transport.check()
        except DeliveryError as error:
            return error.failure is not Failure.SIGN_IN
        return True

    def _rest(self, lane: Lane, why: str, decision: Decision) -> None:
        """Pause or back off the whole lane, where the failure calls for it. The worker alerts its owner of a pause."""
        with self._state:
            if decision.transport_wait:
                lane.rests_until = self._monotonic() + decision.transport_wait
            paused = decision.pauses and not lane.problem
            if decision.pauses:
                lane.problem = why
        if paused:
            self.last_error = f"{lane.name}: {why}"
            log.error("transport %s is paused: %s; queued notifications are kept", lane.name, why)

    def _record(self, due: Sequence[Due], write: Callable[[], None]) -> None:
        """Queue an outcome for the thread that claims: until it is saved nothing else of the conversation is sent."""
        self._unsaved.append((frozenset(item.id for item in due), write))

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
                for _, write in outcomes:
                    write()
        except _UNWRITABLE:
            self._save_one_by_one([write for _, write in outcomes])
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
        """One line per message, however many notifications are in it."""
        first = due[0]
        log.log(
            level,
            "notification %s: %s to %s (%s) through %s, attempt %d, %s%s%s",
            word,
            first.event.kind.value,
            first.recipient,
            first.audience.value,
            lane.name,
            first.failures + 1,
            first.event.entity,
            f" and {len(due) - 1} more in one digest" if len(due) > 1 else "",
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


def _with(ids: list[str], message_id: str) -> list[str]:
    """`ids`, each once; more than enough of them need not be kept."""
    return ids if message_id in ids else [*ids, message_id][-10 * _IN_A_ROW :]


def _common_source(due: Sequence[Due]) -> str:
    sources = {item.source for item in due}
    return sources.pop() if len(sources) == 1 else ""


class _Once:
    """A call that happens once, in the thread that calls it first."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._taking = threading.Lock()

    def __call__(self) -> None:
        if self._taking.acquire(blocking=False):  # and never let go
            self._act()


class _LaneThrottle:
    """The throttles of one transport at one moment; an `outbox.Throttle`."""

    def __init__(
        self, transport: str, now: float, lock: threading.Condition, recipients: Storms, share: DailyShare | None
    ) -> None:
        self._transport = transport
        self._now = now
        self._lock = lock
        self._recipients = recipients
        self._share = share
        self._recorded: list[tuple[str, str, str]] = []

    def gathering(self, recipient: str, kind: Kind, source: str, bundle: str) -> Gathering | None:
        with self._lock:
            if self._share is not None:
                found = self._share.gathering(recipient, self._transport, self._now, source, bundle)
                if found is not None or bundle:
                    return found
            return self._recipients.gathering(recipient, self._transport, self._now, kind)

    def record(self, recipient: str, bundle: str, source: str) -> None:
        self._recorded.append((recipient, bundle, source))
        with self._lock:
            self._recipients.note(recipient, bundle, self._now)
            if self._share is not None:
                self._share.record(recipient, bundle, source, self._now)

    def undo(self, messages: Sequence[tuple[str, str, str]] | None = None) -> None:
        """These messages, or all that were recorded, were not delivered."""
        if messages is None:
            messages, self._recorded = self._recorded, []
        with self._lock:
            for recipient, bundle, source in messages:
                self._recipients.take_back(recipient, bundle, self._now)
                if self._share is not None:
                    self._share.undo(recipient, bundle, source, self._now)
