"""The worker's own health: alerts about transports and dead letters, the daily mail, the dead-man ping."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from syftnotify.core.errors import DeliveryError
from syftnotify.core.identifiers import entity_id, stable_hash
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.outbox import OutboxCounts
from syftnotify.core.text import escape, hostname, iso, plural
from syftnotify.runtime.container import App

log = logging.getLogger(__name__)

_PING_GAP = 10.0  # seconds between two pings, however often we look
_DEAD_LETTER_GAP = 600.0  # seconds between two alerts about dead letters
_LISTED = 10  # dead letters that one alert names
_DAY = 86400.0
_ENDS = "ends "  # before the moment at which a sign-in does
_WARN_AHEAD = 2 * _DAY  # seconds before a sign-in ends


class HealthReporter:
    """What the worker of one home says of itself. Routed, kept and sent like any other event."""

    def __init__(self, parts: App, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock
        self._monotonic = monotonic
        self._entity = entity_id("worker", str(parts.settings.home.root))
        self._pinged_at: float | None = None
        self._pinging: threading.Thread | None = None
        self._alerted: set[str] = set()  # transports that cannot send, about which the owner was alerted
        self._reported_at: float | None = None  # the last alert about dead letters, on the monotonic clock

    def online(self) -> None:
        """The start-up is finished."""
        self._note(EventKind.SCHEDULER_ONLINE, self._entity, iso(self._clock(), exact=True), "")

    def check(self) -> None:
        """Alert the owner about transports that cannot send and about new dead letters.

        Raises:
            StateError: an alert could not be queued; the next call tries again.
        """
        monotonic = self._monotonic()
        for name, queue in self._parts.dispatcher.queues.items():
            reason = queue.health.unavailable_reason(monotonic)
            if not reason:
                self._alerted.discard(name)
            elif name not in self._alerted and self._alert_of_transport(name, reason):
                self._alerted.add(name)
        self._report_dead_letters()
        self._report_lost_events()

    def _report_lost_events(self) -> None:
        """Emitted events exist in the outbox alone: the owner is alerted when it was lost with some."""
        lost = self._parts.pipeline.lost_events
        if lost:
            lines = [escape(key) for key in lost[:_LISTED]]
            lines += [f"and {len(lost) - _LISTED} more"] if len(lost) > _LISTED else []
            self._note(
                EventKind.SYSTEM_ALERT,
                self._entity,
                stable_hash("lost", *lost),
                f"{plural(len(lost), 'emitted event')} may not have been delivered: outbox.db was lost or damaged.",
                detail="\n".join([*lines, "Emit them again with a new `--key` if they still matter."]),
            )
            self._parts.pipeline.forget_lost_events()

    def _alert_of_transport(self, name: str, why: str) -> bool:
        """The owner and the operators are alerted through another transport; False while none can send.

        Not again when the worker was restarted during the same pause.
        """
        other = self._working_transport(except_for={name})
        if not other:
            return False
        if not self._is_told(name):
            self._note(
                EventKind.SYSTEM_ALERT,
                entity_id("transport", name),
                iso(self._clock(), exact=True),
                f"{self._called(name)} cannot send.",
                detail=why,
                transport=other,
            )
        return True

    def _working_transport(self, except_for: Collection[str]) -> str:
        """A transport that can send, one that people read before one that programs read; empty if there is none."""
        queues, monotonic = self._parts.dispatcher.queues, self._monotonic()
        names = self._parts.settings.config.transports
        working = [
            name for name in names if name not in except_for and not queues[name].health.unavailable_reason(monotonic)
        ]
        return min(working, key=lambda name: not queues[name].options.allows_digest, default="")

    def _report_dead_letters(self) -> None:
        """One alert about all new dead letters, at most one in ten minutes; first as soon as there is one."""
        now = self._monotonic()
        if self._reported_at is not None and now - self._reported_at < _DEAD_LETTER_GAP:
            return
        letters = self._parts.outbox.dead_letters.unreported()
        if not letters:
            return
        lines = [
            f"{letter.kind} to {escape(letter.recipient)} through {escape(letter.transport)}: {escape(letter.reason)}"
            for letter in letters[:_LISTED]
        ]
        lines += [f"and {len(letters) - _LISTED} more"] if len(letters) > _LISTED else []
        self._note(
            EventKind.SYSTEM_ALERT,
            self._entity,
            stable_hash(*(letter.id for letter in letters)),  # the same after a crash between the next two steps
            f"{plural(len(letters), 'notification')} could not be delivered.",
            detail="\n".join([*lines, "`notify dead-letters` lists them, `notify resend` sends them again."]),
            transport=self._working_transport(except_for={letter.transport for letter in letters}),
        )
        self._parts.outbox.dead_letters.mark_reported([letter.id for letter in letters], self._clock())
        self._reported_at = now

    def _called(self, name: str) -> str:
        rules = (rule for rule in self._parts.outbox.alert_rules.all() if rule.has_url and rule.endpoint == name)
        rule = next(rules, None)
        if rule is None:
            return f"Transport {name}"
        return f"The webhook at {hostname(rule.target)} of an alert rule ({name} in `notify alerts list`)"

    def _is_told(self, name: str) -> bool:
        """Whether this pause was told less than a day ago; a message that got through since has ended it."""
        outbox = self._parts.outbox
        told = [
            row[3] for row in outbox.events.for_entities([entity_id("transport", name)]) if not row[3].startswith(_ENDS)
        ]
        last = outbox.history.last_sent(name)
        yesterday = iso(self._clock() - _DAY, exact=True)
        return any(moment > yesterday and (last is None or moment > iso(last, exact=True)) for moment in told)

    def after_look(self, counts: OutboxCounts, *, jobs: int, peers: int, looked_well: bool) -> None:
        """A scan is over: send the alerts that are due, and the signs of life if everything is well."""
        self._warn_of_ends()
        self.check()
        queues, monotonic = self._parts.dispatcher.queues, self._monotonic()
        all_send = not any(
            queues[name].health.unavailable_reason(monotonic) for name in self._parts.settings.config.transports
        )
        if looked_well and all_send and not counts.unacknowledged:
            self._ping()
            self._beat(counts, jobs, peers)

    def finish(self) -> None:
        """Wait for a ping under way."""
        if self._pinging is not None:
            self._pinging.join()

    def _warn_of_ends(self) -> None:
        """A sign-in that will die is announced while it still works."""
        now = self._clock()
        for name, ends in sign_in_end_of_each(self._parts).items():
            if not 0 < ends - now <= _WARN_AHEAD:
                continue
            self._note_once(
                EventKind.SYSTEM_ALERT,
                entity_id("transport", name),
                f"{_ENDS}{iso(ends, exact=True)}",
                f"The Gmail sign-in of transport {name} ends on {datetime.fromtimestamp(ends, UTC):%d %B, %H:%M} UTC.",
                detail="Sign in anew with `notify init --credentials FILE` before that; afterwards nothing can be sent "
                "until you do. Google lets a sign-in end after 7 days while the app's publishing status is Testing.",
            )

    def _beat(self, counts: OutboxCounts, jobs: int, peers: int) -> None:
        """The daily mail, at the first good look at or after its time of the day, in the machine's own time zone."""
        daily = self._parts.settings.config.heartbeat.daily
        local = datetime.fromtimestamp(self._clock(), UTC).astimezone()
        if daily is None or local.time() < daily:
            return
        sent = len(self._parts.outbox.history.sent_since(self._clock() - _DAY))
        self._note_once(
            EventKind.HEARTBEAT,
            self._entity,
            local.date().isoformat(),
            "syftnotify is at work and all is well.",
            figures=[
                ["it knows", f"{plural(jobs, 'job')}, {plural(peers, 'peer')}"],
                ["sent since yesterday", plural(sent, "message")],
                ["waiting", plural(counts.waiting, "message")],
                ["dead letters", f"{counts.dead}" + (" (`notify dead-letters` lists them)" if counts.dead else "")],
                ["held, may have arrived", str(counts.held)],
                *(
                    [name, f"sign-in ends {iso(ends, exact=True)}"]
                    for name, ends in sign_in_end_of_each(self._parts).items()
                ),
            ],
        )

    def _note_once(self, kind: EventKind, entity: str, occurrence: str, summary: str, **more: Any) -> None:
        known = {(row[2], row[3]) for row in self._parts.outbox.events.for_entities([entity])}
        if (kind.value, occurrence) not in known:
            self._note(kind, entity, occurrence, summary, **more)

    def _note(
        self, kind: EventKind, entity: str, occurrence: str, summary: str, *, transport: str = "", **more: Any
    ) -> None:
        now = self._clock()
        payload = {"owner": self._parts.settings.config.do_email, "summary": summary, **more}
        self._parts.pipeline.enqueue_own(
            Event(kind, entity, occurrence, iso(now, exact=True), payload), now, transport=transport
        )
        self._parts.dispatcher.wake()

    def _ping(self) -> None:
        url = self._parts.settings.config.heartbeat.ping_url
        now = self._monotonic()
        if not url or (self._pinged_at is not None and now - self._pinged_at < _PING_GAP):
            return
        if self._pinging is None or not self._pinging.is_alive():
            self._pinged_at = now
            self._pinging = threading.Thread(target=_ping, args=(url,), name="ping", daemon=True)
            self._pinging.start()


def sign_in_end_of_each(parts: App) -> dict[str, float]:
    """The ends of the transports' sign-ins, in seconds since 1970, where they are known."""
    sign_ins = {name: section.sign_in for name, section in parts.settings.config.transports.items()}
    found = {name: sign_in.ends_at() for name, sign_in in sign_ins.items() if sign_in is not None}
    return {name: ends for name, ends in found.items() if ends is not None}


def _ping(url: str) -> None:
    from syftnotify.transports.ping import ping

    begun = time.monotonic()
    try:
        ping(url)
    except DeliveryError as error:
        log.warning("the heartbeat did not arrive: %s", error)
    else:
        log.debug("the heartbeat took %.3f s", time.monotonic() - begun)
