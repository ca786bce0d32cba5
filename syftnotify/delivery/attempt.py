"""One attempt to deliver a message."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import jinja2

from syftnotify.core.errors import DeliveryError, Failure, StateError
from syftnotify.core.kinds import current_status
from syftnotify.core.models import QUIET_HOURS_PREFIX, Item, Message, NotificationState, Receipt
from syftnotify.core.outbox import AttemptOutcome, ClaimedNotification, NotificationQueue
from syftnotify.core.ports import Transport
from syftnotify.core.retry import (
    AUTH_PROBE_INTERVAL,
    BACKOFF_MAX,
    GONE_PAUSE,
    OUTCOME_LABELS,
    AttemptHistory,
    Decision,
    backoff,
    decide,
)
from syftnotify.core.text import escape
from syftnotify.delivery.outcomes import DeliveryStatus, OutcomeRecorder
from syftnotify.delivery.throttling import Throttling
from syftnotify.delivery.transport_queue import TransportQueue
from syftnotify.system.failpoints import reached

log = logging.getLogger(__name__)


_NOT_HELD = "this worker did not renew its lease in time, so another one may send the message"
_RETURNED_WAIT = 5.0  # seconds; a worker renews its lease that often


class AttemptRunner:
    """Renders messages, sends them and records the outcomes. Safe to share between threads."""

    def __init__(
        self,
        notifications: NotificationQueue,
        outcomes: OutcomeRecorder,
        throttling: Throttling,
        status: DeliveryStatus,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._notifications = notifications
        self._outcomes = outcomes
        self._throttling = throttling
        self._status = status
        self._clock = clock
        self._monotonic = monotonic

    def run(self, queue: TransportQueue, claimed: Sequence[ClaimedNotification], claimed_at: float) -> None:
        """Attempt to deliver the message with `claimed`, which was claimed at `claimed_at` (seconds since 1970).

        Never raises, because the rows would stay claimed.
        """
        try:
            self._attempt(queue, claimed, claimed_at)
        except Exception:  # the outermost handler of the thread: for example no memory to record the outcome
            log.exception("notification of %s: the outcome cannot be recorded", escape(claimed[0].event.entity))
            self._outcomes.abandon(claimed)

    def _attempt(self, queue: TransportQueue, claimed: Sequence[ClaimedNotification], claimed_at: float) -> None:
        is_rendered = False
        try:
            reached("attempt.claimed")
            message = self._render(queue, claimed)
            if not self._notifications.is_held(claimed):
                self._return(queue, claimed, claimed_at, _NOT_HELD)
                return
            is_rendered = True
            receipt = queue.transport.send(message)
            reached("attempt.sent")
        except StateError as error:  # nothing was sent, and nothing is wrong with the message
            self._return(queue, claimed, claimed_at, str(error))
        except DeliveryError as error:
            self._record_failure(queue, claimed, error, is_response=is_rendered and not error.is_local)
            if queue.options.allows_digest and error.failure is not Failure.UNKNOWN:
                self._throttling.undo(queue, claimed, claimed_at)
        except Exception as error:  # one bad message must not stop the others
            log.exception("notification of %s: unexpected error in the attempt", escape(claimed[0].event.entity))
            # Before the send the cause is the row or a template, so a retry would fail again; memory may be free later.
            before_send = Failure.TEMPORARY if isinstance(error, MemoryError) else Failure.PERMANENT
            failure = Failure.UNKNOWN if is_rendered else before_send
            wrapped = DeliveryError(failure, f"unexpected {type(error).__name__}; see the log")
            self._record_failure(queue, claimed, wrapped, is_response=False)
        else:
            self._record_success(queue, claimed, receipt)

    def _return(
        self, queue: TransportQueue, claimed: Sequence[ClaimedNotification], claimed_at: float, reason: str
    ) -> None:
        """End the attempt of `claimed` before anything was sent; it does not count as a failure of the message."""
        now = self._clock()
        outcome = AttemptOutcome(NotificationState.PENDING, now + _RETURNED_WAIT, counts=False, is_temporary=False)
        write = partial(self._notifications.mark_failed, claimed, now, Failure.TEMPORARY, reason, outcome)
        self._outcomes.record(claimed, write)
        if queue.options.allows_digest:
            self._throttling.undo(queue, claimed, claimed_at)
        self._status.record_error(f"{queue.name}: {reason}")
        _log(logging.WARNING, "NOT SENT", queue, claimed, f": {reason}")

    def _render(self, queue: TransportQueue, claimed: Sequence[ClaimedNotification]) -> Message:
        """The message with `claimed`. Raises: DeliveryError, or StateError if the outbox cannot be read."""
        first = claimed[0]
        thread = ""
        if queue.options.uses_threads and not first.bundle:
            thread = self._notifications.thread_of(first)
        # A notification deferred by quiet hours is sent as a single message if no other was deferred with it.
        is_single = not first.bundle or (len(claimed) == 1 and first.bundle.startswith(QUIET_HOURS_PREFIX))
        digest = "" if is_single else first.message_id
        items = [_item(notification) for notification in claimed]
        renderer = queue.renderer_for(first)
        try:
            return renderer.message(items, first.recipient, thread=thread, digest=digest)
        except jinja2.TemplateError as error:
            raise DeliveryError(Failure.TEMPORARY, f"the template cannot be used: {escape(str(error))}") from error

    def _record_success(self, queue: TransportQueue, claimed: Sequence[ClaimedNotification], receipt: Receipt) -> None:
        write = partial(
            self._notifications.mark_sent,
            claimed,
            self._clock(),
            provider_id=receipt.provider_id,
            thread=receipt.thread,
        )
        self._outcomes.record(claimed, write)
        queue.record_success(self._monotonic())
        _log(logging.INFO, "SENT", queue, claimed)

    def _record_failure(
        self, queue: TransportQueue, claimed: Sequence[ClaimedNotification], error: DeliveryError, *, is_response: bool
    ) -> None:
        """Record the outcomes of `claimed`, and back off or pause the transport if necessary.

        `is_response`: the failure was caused by the server or the network, not by this program.
        """
        now = self._clock()
        is_systemic = is_response and queue.health.record_failure(
            error, _subject(claimed, error), now, self._monotonic()
        )
        decide_for = partial(_decide, queue, error, now=now, is_systemic=is_systemic)
        # Each notification has its own retry limit. The rest of a digest stays one message with one decision.
        exhausted: list[ClaimedNotification] = []
        remaining: list[ClaimedNotification] = []
        for item in claimed:
            (exhausted if decide_for([item]).gives_up else remaining).append(item)
        self._status.record_error(f"{queue.name}: {error}")
        decision = Decision()
        for items, level in ((exhausted, logging.ERROR), (remaining, logging.WARNING)):
            if items:
                decision = decide_for(items)
                outcome = _outcome(error.failure, decision, now)
                write = partial(self._notifications.mark_failed, items, now, error.failure, str(error), outcome)
                self._outcomes.record(items, write)
                details = f" ({error.failure.value}): {error}"
                _log(level, OUTCOME_LABELS[error.failure], queue, items, details)
        self._pause(queue, decision, error, is_response=is_response)
        if error.failure is Failure.AUTH:  # after the pause: a check takes long, and meanwhile no attempt may start
            queue.health.is_authenticated = _can_authenticate(queue.transport)

    def _pause(self, queue: TransportQueue, decision: Decision, error: DeliveryError, *, is_response: bool) -> None:
        """Back off or pause the transport, as `decision` or a series of failures requires."""
        health, reason = queue.health, str(error)
        if is_response and error.failure is Failure.PERMANENT and health.rejects_all:
            reason = f"the last messages were all rejected: {error}"
            decision = replace(decision, transport_wait=AUTH_PROBE_INTERVAL, pauses=True)
        elif is_response and error.failure is Failure.TEMPORARY and health.consecutive_timeouts:
            decision = replace(decision, transport_wait=backoff(health.consecutive_timeouts, rand=random.random))
        if queue.pause(decision, error.failure, reason, self._monotonic()):
            self._status.record_error(f"{queue.name}: {reason}")


def _item(claimed: ClaimedNotification) -> Item:
    event = claimed.event
    return Item(
        claimed.id,
        event,
        claimed.audience,
        current_status([claimed.last_kind or event.kind]),
        claimed.created_at,
        claimed.bundle,
        claimed.message_domain,
    )


def _subject(claimed: Sequence[ClaimedNotification], error: DeliveryError) -> str:
    """The key by which failures are counted: the message id, or the recipient if the recipient is the reason."""
    return f"to {claimed[0].recipient}" if error.is_about_recipient else claimed[0].message_id


def _decide(
    queue: TransportQueue,
    error: DeliveryError,
    items: Sequence[ClaimedNotification],
    *,
    now: float,
    is_systemic: bool,
) -> Decision:
    """The decision for `items`, which were part of one message.

    `is_systemic`: the transport rejects all messages. They stay queued, and the next probe sends another one.
    """
    if is_systemic:
        pause = GONE_PAUSE if error.failure is Failure.GONE else AUTH_PROBE_INTERVAL
        return Decision(wait=BACKOFF_MAX, transport_wait=pause, pauses=True, counts=False)
    failed_at = [item.first_failed_at for item in items if item.first_failed_at is not None]
    history = AttemptHistory(
        max(item.failures for item in items),
        max(item.temporary_failures for item in items),
        min(failed_at, default=None),
    )
    decision = decide(
        error.failure,
        history,
        now=now,
        rand=random.random,
        retry_after=error.not_before.timestamp() - now if error.not_before else None,
        max_retries=queue.options.max_retries,
        consecutive_timeouts=queue.health.consecutive_timeouts or 1,
    )
    is_held = error.failure is Failure.UNKNOWN and not queue.options.resend_unknown
    return replace(decision, gives_up=False) if is_held else decision  # a user decides


def _outcome(failure: Failure, decision: Decision, now: float) -> AttemptOutcome:
    """The outcome to store, as `decision` at `now` requires."""
    state = NotificationState.UNKNOWN if failure is Failure.UNKNOWN else NotificationState.PENDING
    return AttemptOutcome(
        state=NotificationState.DEAD if decision.gives_up else state,
        not_before=now + decision.wait if decision.wait else 0.0,
        counts=decision.counts,
        is_temporary=decision.is_temporary,
    )


def _can_authenticate(transport: Transport) -> bool:
    """Whether a check does not fail with AUTH, so that no check can end the pause, but only a message that is sent."""
    try:
        transport.check()
    except DeliveryError as error:
        return error.failure is not Failure.AUTH
    return True


def _log(
    level: int, label: str, queue: TransportQueue, claimed: Sequence[ClaimedNotification], details: str = ""
) -> None:
    """Log one line per message, however many notifications it contains."""
    first = claimed[0]
    log.log(
        level,
        "notification %s: %s to %s (%s) through %s, attempt %d, %s%s%s",
        label,
        first.event.kind.value,
        first.recipient,
        first.audience.value,
        queue.name,
        first.failures + 1,
        first.event.entity,
        f" and {len(claimed) - 1} more in one digest" if len(claimed) > 1 else "",
        details,
    )
