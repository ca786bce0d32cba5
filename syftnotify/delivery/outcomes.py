"""Recording of the outcomes of attempts."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syftnotify.core.errors import NO_ERROR, RecordedError
from syftnotify.core.outbox import ClaimedNotification, NotificationQueue
from syftnotify.core.text import plural

log = logging.getLogger(__name__)

_UNSTORABLE = (ValueError, TypeError, OverflowError)  # raised for text and numbers that the database cannot store


@dataclass(slots=True)
class DeliveryStatus:
    """The status of deliveries for the worker's status file; shared by all parts of a `Dispatcher`."""

    last_error: RecordedError = NO_ERROR
    failed_passes: int = 0  # scheduling passes in a row that failed

    def record_error(self, text: str) -> None:
        """Record an error, with the time on the clock of this machine, as all times of the status."""
        self.last_error = RecordedError(time.time(), text)


class OutcomeRecorder:
    """Collects outcomes from the threads of attempts; the scheduling thread saves them in batches.

    That thread also claims. Until an outcome is saved, its rows are stored as being sent, so no other message of the
    same conversation is claimed.
    """

    def __init__(
        self,
        notifications: NotificationQueue,
        status: DeliveryStatus,
        *,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called after each save."""
        self._notifications = notifications
        self._status = status
        self._clock = clock
        self._on_change = on_change
        # Per message: the ids of its notifications, and the call that saves their outcome.
        self._unsaved: deque[tuple[frozenset[str], Callable[[], None]]] = deque()

    @property
    def has_unsaved(self) -> bool:
        """Whether outcomes are recorded and not saved."""
        return bool(self._unsaved)

    def record(self, claimed: Sequence[ClaimedNotification], write: Callable[[], None]) -> None:
        """Keep the outcome of `claimed` for the next `save`, which calls `write`."""
        self._unsaved.append((frozenset(item.id for item in claimed), write))

    def save(self) -> bool:
        """Save all recorded outcomes; returns whether there were any.

        Raises:
            StateError: the outbox cannot be written; the outcomes are kept for the next call.
        """
        outcomes = [write for _, write in list(self._unsaved)]  # other threads may append more meanwhile
        if not outcomes:
            return False
        try:
            with self._notifications.batch():
                for write in outcomes:
                    write()
        except _UNSTORABLE:
            self._save_each(outcomes)
        else:
            for _ in outcomes:
                self._unsaved.popleft()
        self._on_change()
        return True

    def _save_each(self, outcomes: Sequence[Callable[[], None]]) -> None:
        """Save without a batch, so that an outcome that cannot be stored does not prevent the others."""
        for write in outcomes:
            try:
                write()
            except _UNSTORABLE as error:  # a retry would fail again; `recover` at the next start makes it unknown
                self._status.record_error(f"an outcome cannot be recorded: {error}")
                log.exception("an outcome cannot be recorded")
            self._unsaved.popleft()

    def abandon(self, claimed: Sequence[ClaimedNotification]) -> None:
        """End the attempt of `claimed`, after an error. Notifications without a recorded outcome become unknown."""
        unsaved = {name for ids, _ in list(self._unsaved) for name in ids}
        self._notifications.abandon({item.id for item in claimed} - unsaved)
        self.recover()

    def recover(self) -> None:
        """Record claimed notifications without an attempt in progress as unknown, after an error. Never raises."""
        try:
            recovered = self._notifications.recover(self._clock())
        except Exception:  # outermost error handlers call this; the next start recovers them
            log.exception("claimed notifications cannot be recovered now")
        else:
            if recovered:
                attempts = plural(recovered, "attempt")
                log.warning("notification: %s ended by an error; the messages may have been delivered", attempts)
