"""Changes of notifications that wait, whichever engine claims them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import sqlalchemy as sa

from syftnotify.core.kinds import Audience
from syftnotify.core.models import MAIL, Event, NotificationState
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import PENDING, UNFINISHED, UNKNOWN, chunks, is_one_of
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.events import EventLog
from syftnotify.store.outbox.rows import ROW_ERRORS, stored_event
from syftnotify.store.outbox.schema import EVENTS, NOTIFICATIONS

_MAY_BE_DENIED = sa.and_(
    is_one_of(NOTIFICATIONS.c.state, (NotificationState.PENDING.value, NotificationState.WITHHELD.value)),
    NOTIFICATIONS.c.medium == MAIL,
    ~is_one_of(NOTIFICATIONS.c.audience, (Audience.OWNER.value, Audience.OPERATOR.value)),
)
_DENIABLE_RECIPIENTS = CompiledStatement(sa.select(NOTIFICATIONS.c.recipient).where(_MAY_BE_DENIED).distinct())


@cache
def _used_transports(states: tuple[str, ...]) -> CompiledStatement:
    """The transports of all notifications in these states."""
    return CompiledStatement(
        sa.select(NOTIFICATIONS.c.transport).where(is_one_of(NOTIFICATIONS.c.state, states)).distinct()
    )


class WaitingNotifications:
    """The part of `core.outbox.NotificationQueue` that claims nothing."""

    # States of what `reassign` moves. The only worker of an outbox has claimed nothing yet when it does that.
    _reassigned: tuple[str, ...] = (*UNFINISHED, NotificationState.WITHHELD.value)

    def __init__(self, database: Database, events: EventLog) -> None:
        self._database = database
        self._events = events

    def bound_waits(self, now: float) -> int:
        limit = now + NOTIFICATIONS.c.longest_wait
        late = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.state.in_((PENDING, UNKNOWN)), NOTIFICATIONS.c.not_before > limit
        )
        with self._database.writing() as connection:
            return int(connection.execute(late.values(not_before=limit)).rowcount)

    def reassign(self, transports: Sequence[str], to: str) -> int:
        with self._database.reading() as connection:
            left = {row.transport for row in _used_transports(self._reassigned).all(connection)}.difference(transports)
        if not left:
            return 0
        orphans = NOTIFICATIONS.update().where(
            NOTIFICATIONS.c.state.in_(self._reassigned), NOTIFICATIONS.c.transport.in_(sorted(left))
        )
        reason = NOTIFICATIONS.c.transport + " is not configured any more"
        is_mail = sa.and_(NOTIFICATIONS.c.medium == MAIL, sa.true() if to else sa.false())
        with self._database.writing() as connection:
            moved = connection.execute(orphans.where(is_mail).values(transport=to)).rowcount
            connection.execute(orphans.where(~is_mail).values(state=NotificationState.DEAD.value, reason=reason))
        return int(moved)

    def skip_silenced(self, reason: Callable[[Event, float], str]) -> int:
        is_waiting = NOTIFICATIONS.c.state.in_((NotificationState.PENDING.value, NotificationState.WITHHELD.value))
        waiting = sa.select(NOTIFICATIONS.c.event_key).where(is_waiting)
        silenced: dict[str, list[str]] = {}  # keys of events, by reason
        with self._database.reading() as connection:  # it may take long, and must not block other writers
            for row in connection.execute(sa.select(EVENTS).where(EVENTS.c.key.in_(waiting))):
                try:
                    text = reason(stored_event(row), row.noticed_at)
                except ROW_ERRORS:
                    continue  # the claim of a damaged row quarantines it
                if text:
                    silenced.setdefault(text, []).append(row.key)
        count = 0
        for text, keys in silenced.items():
            for some in chunks(keys):
                skipped = NOTIFICATIONS.update().where(is_waiting, NOTIFICATIONS.c.event_key.in_(some))
                values = {"state": NotificationState.SKIPPED.value, "reason": text}
                with self._database.writing() as connection:
                    count += connection.execute(skipped.values(**values)).rowcount
                self._events.mark_dirty(some)
        return count

    def skip_denied(self, denies: Callable[[str], bool], reason: str) -> int:
        skipped = NOTIFICATIONS.update().where(_MAY_BE_DENIED)
        skipped = skipped.values(state=NotificationState.SKIPPED.value, reason=reason)
        with self._database.writing() as connection:
            denied = [row.recipient for row in _DENIABLE_RECIPIENTS.all(connection) if denies(row.recipient)]
            return sum(
                connection.execute(skipped.where(NOTIFICATIONS.c.recipient.in_(some))).rowcount
                for some in chunks(denied)
            )
