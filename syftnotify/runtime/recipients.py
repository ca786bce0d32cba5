"""Daily limit of new recipients among those that the tree names."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from syftnotify.core.alerts import Alert, alert_payload
from syftnotify.core.identifiers import entity_id
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import MAIL, Event, Notification
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.routing import RoutingContext, is_named_by_tree
from syftnotify.core.text import iso, plural

log = logging.getLogger(__name__)

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Admission:
    """Notifications that may be enqueued, and their effect on the daily limit."""

    notifications: list[Notification]  # those above the limit are withheld
    newcomers: frozenset[str]  # addresses that count towards the limit
    excess: int  # addresses above the limit


class RecipientLimit:
    """Limits the recipients that are mailed for the first time (`recipients.new_per_day`).

    Applies to addresses that the tree names. Those of the configuration and of emitted events are exempt.
    """

    def __init__(self, outbox: OutboxStore, owner: str, new_per_day: int | None) -> None:
        """`new_per_day` is None for no limit."""
        self._outbox = outbox
        self._owner = owner
        self._limit = new_per_day

    def release(self, context: RoutingContext, now: float) -> int:
        """Queue withheld notifications to recipients who may be mailed now; returns how many.

        Must be called before later notifications to them are enqueued, to keep the order.
        """
        known = [
            address
            for address in self._outbox.recipients.withheld()
            if context.is_known(address) and not context.denies(address)
        ]
        newcomers, excess = self._newcomers(known, context, now)
        admitted = [address for address in known if address not in excess]
        released = self._outbox.recipients.release(admitted, now, newcomers=newcomers) if admitted else 0
        if released:
            log.info("released %d withheld notifications", released)
        return released

    def admit(
        self, notifications: Iterable[Notification], events: Mapping[str, Event], context: RoutingContext, now: float
    ) -> Admission:
        """`notifications` with those of new recipients above the limit withheld; `events` are by key."""
        items = list(notifications)
        limited = [
            item.recipient
            for item in items
            if not item.skipped
            and not item.withheld
            and item.medium == MAIL
            and is_named_by_tree(events[item.event_key], item.audience)
        ]
        newcomers, excess = self._newcomers(limited, context, now)
        if excess:
            reason = f"above the daily limit of {plural(self._limit or 0, 'new recipient')} (`recipients.new_per_day`)"
            items = [
                replace(item, withheld=reason)
                if item.recipient in excess and item.medium == MAIL and not item.skipped and not item.withheld
                else item
                for item in items
            ]
        return Admission(items, newcomers, len(excess))

    def alert(self, excess: int, now: float) -> Event:
        """The alert that the limit is reached. Its key is the date, so that one a day is sent."""
        log.warning("mail to %d new recipients is withheld: `recipients.new_per_day` is reached", excess)
        moment = iso(now)
        payload = {
            "owner": self._owner,
            **alert_payload(Alert.RECIPIENT_LIMIT, {"limit": self._limit, "excess": excess}),
        }
        return Event(EventKind.SYSTEM_ALERT, entity_id("recipients", self._owner), moment[:10], moment, payload)

    def _newcomers(
        self, addresses: Iterable[str], context: RoutingContext, now: float
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The addresses that are mailed for the first time: those within the limit, in order, and those above it."""
        named = dict.fromkeys(addresses)
        limited = [each for each in named if each not in context.configured and not context.allows(each)]
        if not limited:
            return frozenset(), frozenset()
        unmailed = self._outbox.recipients.unmailed(limited)
        new = [address for address in limited if address in unmailed]
        if self._limit is None or not new:
            return frozenset(new), frozenset()
        room = max(0, self._limit - self._outbox.recipients.count_new(now - _DAY, now))
        return frozenset(new[:room]), frozenset(new[room:])
