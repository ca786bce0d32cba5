"""Alerts about dead letters, and about emitted events that were lost with the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syftnotify.core.alerts import Alert
from syftnotify.core.history import NotificationRecord
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.outbox import DeadLetters
from syftnotify.core.text import escape
from syftnotify.runtime.health.availability import TransportAvailability
from syftnotify.runtime.health.events import WorkerEvents

_DEAD_LETTER_SECONDS = 600.0  # between two alerts about dead letters
_MAX_LINES = 10  # items listed in one alert


class DeadLetterAlerts:
    """Alerts the owner about new dead letters, all in one alert: the first at once, later ones every ten minutes."""

    def __init__(
        self,
        events: WorkerEvents,
        availability: TransportAvailability,
        dead_letters: DeadLetters,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._events = events
        self._availability = availability
        self._dead_letters = dead_letters
        self._clock = clock
        self._monotonic = monotonic
        self._alerted_at: float | None = None  # on the monotonic clock

    def check(self) -> None:
        """Enqueue an alert if one is due.

        Raises:
            StateError: the outbox cannot be used; the next call tries again.
        """
        now = self._monotonic()
        if self._alerted_at is not None and now - self._alerted_at < _DEAD_LETTER_SECONDS:
            return
        unreported = self._dead_letters.unreported()
        if unreported:
            self._alert(unreported)
            self._dead_letters.mark_reported([letter.id for letter in unreported], self._clock())
            self._alerted_at = now

    def _alert(self, dead_letters: Sequence[NotificationRecord]) -> None:
        listed = [
            {
                "kind": letter.kind,
                "recipient": letter.recipient,
                "transport": letter.transport,
                "reason": escape(letter.reason),
            }
            for letter in dead_letters[:_MAX_LINES]
        ]
        # The same occurrence if the worker is killed before the dead letters are marked as reported.
        occurrence = stable_hash(*(letter.id for letter in dead_letters))
        self._events.alert(
            Alert.DEAD_LETTERS,
            self._events.worker_entity,
            occurrence,
            {"count": len(dead_letters), "listed": listed},
            via=self._availability.choose(exclude={letter.transport for letter in dead_letters}),
        )


class LostEventAlerts:
    """Alerts the owner about emitted events that were lost with the outbox: nothing else contains them."""

    def __init__(
        self, events: WorkerEvents, *, lost_keys: Callable[[], Sequence[str]], forget: Callable[[], None]
    ) -> None:
        """`lost_keys` returns the keys of the lost events until `forget` is called."""
        self._events = events
        self._lost_keys = lost_keys
        self._forget = forget

    def check(self) -> None:
        """Enqueue an alert about events that were lost since the last one.

        Raises:
            StateError: the outbox cannot be used; the next call tries again.
        """
        lost = self._lost_keys()
        if not lost:
            return
        self._events.alert(
            Alert.LOST_EVENTS,
            self._events.worker_entity,
            stable_hash("lost", *lost),
            {"count": len(lost), "listed": [escape(key) for key in lost[:_MAX_LINES]]},
        )
        self._forget()
