"""How does the worker itself fare, and who must know? Its own alerts, the daily mail, the ping of a dead-man switch."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from syftnotify.assembly import Parts
from syftnotify.config import Gmail
from syftnotify.errors import DeliveryError
from syftnotify.google_auth import sign_in_ends
from syftnotify.model import Event, Kind, entity_id
from syftnotify.outbox import Counts
from syftnotify.text import host_of, iso, plural

log = logging.getLogger(__name__)

_PING_GAP = 10.0  # seconds between two pings, however often we look
_DAY = 86400.0
_ENDS = "ends "  # before the moment at which a sign-in does
_WARN_AHEAD = 2 * _DAY  # seconds before a sign-in ends


class Vitals:
    """What the worker of one home says of itself. Routed, kept and sent like any other event."""

    def __init__(self, parts: Parts, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock
        self._monotonic = monotonic
        self._entity = entity_id("worker", str(parts.settings.home.root))
        self._pinged_at: float | None = None
        self._pinging: threading.Thread | None = None

    def online(self) -> None:
        """The start-up is finished."""
        self._note(Kind.SCHEDULER_ONLINE, self._entity, iso(self._clock(), exact=True), "")

    def paused(self, name: str, why: str) -> None:
        """A transport is paused: the owner and the operators hear of it through another one, if there is one.

        Not again when the worker was started anew in the same pause.
        """
        lanes = self._parts.dispatcher.lanes
        others = [each for each in self._parts.settings.config.transports if each != name and not lanes[each].problem]
        # To people rather than to programs.
        other = min(others, key=lambda each: not lanes[each].gathers, default=None)
        if other is not None and not self._is_told(name):
            summary = f"{self._called(name)} is paused: it cannot send."
            self._note(
                Kind.SYSTEM_ALERT,
                entity_id("transport", name),
                iso(self._clock(), exact=True),
                summary,
                detail=why,
                transport=other,
            )

    def _called(self, name: str) -> str:
        rules = (rule for rule in self._parts.outbox.alerts() if rule.has_own_address and rule.endpoint == name)
        rule = next(rules, None)
        if rule is None:
            return f"Transport {name}"
        return f"The webhook at {host_of(rule.target)} of an alert rule ({name} in `notify alerts list`)"

    def _is_told(self, name: str) -> bool:
        """Whether this pause was told less than a day ago; a message that got through since has ended it."""
        outbox = self._parts.outbox
        told = [row[3] for row in outbox.keys_of([entity_id("transport", name)]) if not row[3].startswith(_ENDS)]
        last = outbox.last_sent(name)
        yesterday = iso(self._clock() - _DAY, exact=True)
        return any(moment > yesterday and (last is None or moment > iso(last, exact=True)) for moment in told)

    def after_look(self, counts: Counts, *, jobs: int, peers: int, looked_well: bool) -> None:
        """A look is over: say what is due. The world hears that all is well only when it is."""
        self._warn_of_ends()
        lanes = self._parts.dispatcher.lanes
        if looked_well and not any(lanes[name].problem for name in self._parts.settings.config.transports):
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
                Kind.SYSTEM_ALERT,
                entity_id("transport", name),
                f"{_ENDS}{iso(ends, exact=True)}",
                f"The Gmail sign-in of transport {name} ends on {datetime.fromtimestamp(ends, UTC):%d %B, %H:%M} UTC.",
                detail="Sign in anew with `notify init --credentials FILE` before that; afterwards nothing can be sent "
                "until you do. Google lets a sign-in end after 7 days while the app's publishing status is Testing.",
            )

    def _beat(self, counts: Counts, jobs: int, peers: int) -> None:
        """The daily mail, at the first good look at or after its time of the day, in the machine's own time zone."""
        daily = self._parts.settings.config.heartbeat.daily
        local = datetime.fromtimestamp(self._clock(), UTC).astimezone()
        if daily is None or local.time() < daily:
            return
        sent = len(self._parts.outbox.messages_since(self._clock() - _DAY))
        self._note_once(
            Kind.HEARTBEAT,
            self._entity,
            local.date().isoformat(),
            "syftnotify is at work and all is well.",
            figures=[
                ["it knows", f"{plural(jobs, 'job')}, {plural(peers, 'peer')}"],
                ["sent since yesterday", plural(sent, "message")],
                ["waiting", plural(counts.waiting, "message")],
                ["dead letters", f"{counts.dead}" + (" (`notify dead` says why)" if counts.dead else "")],
                ["held, may have arrived", str(counts.held)],
                *(
                    [name, f"sign-in ends {iso(ends, exact=True)}"]
                    for name, ends in sign_in_end_of_each(self._parts).items()
                ),
            ],
        )

    def _note_once(self, kind: Kind, entity: str, occurrence: str, summary: str, **more: Any) -> None:
        known = {(row[2], row[3]) for row in self._parts.outbox.keys_of([entity])}
        if (kind.value, occurrence) not in known:
            self._note(kind, entity, occurrence, summary, **more)

    def _note(
        self, kind: Kind, entity: str, occurrence: str, summary: str, *, transport: str = "", **more: Any
    ) -> None:
        now = self._clock()
        payload = {"owner": self._parts.settings.config.do_email, "summary": summary, **more}
        self._parts.pipeline.note(
            Event(kind, entity, occurrence, iso(now, exact=True), payload), now, transport=transport
        )
        self._parts.dispatcher.poke()

    def _ping(self) -> None:
        url = self._parts.settings.config.heartbeat.ping_url
        now = self._monotonic()
        if not url or (self._pinged_at is not None and now - self._pinged_at < _PING_GAP):
            return
        if self._pinging is None or not self._pinging.is_alive():
            self._pinged_at = now
            self._pinging = threading.Thread(target=_ping, args=(url,), name="ping", daemon=True)
            self._pinging.start()


def sign_in_end_of_each(parts: Parts) -> dict[str, float]:
    """When the sign-ins of the Gmail transports end, in seconds since 1970, where Google said so."""
    found = {
        name: sign_in_ends(section.token)
        for name, section in parts.settings.config.transports.items()
        if isinstance(section, Gmail)
    }
    return {name: ends for name, ends in found.items() if ends is not None}


def _ping(url: str) -> None:
    from syftnotify.deliver.ping import ping  # httpcore is 50 ms of a start, and few ask for it

    begun = time.monotonic()
    try:
        ping(url)
    except DeliveryError as error:
        log.warning("the heartbeat did not arrive: %s", error)
    else:
        log.debug("the heartbeat took %.3f s", time.monotonic() - begun)
