"""Alerts about dead letters, and about emitted events that were lost with the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import EventKind
from syftnotify.core.outbox import DeadLetters, NotificationRecord
from syftnotify.core.text import escape, plural
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
        lines = [
            f"{letter.kind} to {escape(letter.recipient)} through {escape(letter.transport)}: {escape(letter.reason)}"
            for letter in dead_letters[:_MAX_LINES]
        ]
        self._events.enqueue(
            EventKind.SYSTEM_ALERT,
            self._events.worker_entity,
            # The same occurrence if the worker is killed before the dead letters are marked as reported.
            stable_hash(*(letter.id for letter in dead_letters)),
            f"{plural(len(dead_letters), 'notification')} could not be delivered.",
            detail=_listing(
                lines, len(dead_letters), "`notify dead-letters` lists them, `notify resend` sends them again."
            ),
            transport=self._availability.choose(exclude={letter.transport for letter in dead_letters}),
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
        self._events.enqueue(
            EventKind.SYSTEM_ALERT,
            self._events.worker_entity,
            stable_hash("lost", *lost),
            f"{plural(len(lost), 'emitted event')} may not have been delivered: outbox.db was lost or damaged.",
            detail=_listing(
                [escape(key) for key in lost[:_MAX_LINES]],
                len(lost),
                "Emit them again with a new `--key` if they still matter.",
            ),
        )
        self._forget()


def _listing(lines: list[str], total: int, advice: str) -> str:
    more = [f"and {total - len(lines)} more"] if total > len(lines) else []
    return "\n".join([*lines, *more, advice])
