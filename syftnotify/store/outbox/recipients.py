"""Addresses that were mailed, and recipients whose notifications are withheld."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from syftnotify.core.models import NotificationState
from syftnotify.store.outbox.compiled import CompiledStatement
from syftnotify.store.outbox.conditions import PENDING, chunks
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.schema import NOTIFICATIONS, RECIPIENTS

_WITHHELD = NotificationState.WITHHELD.value
_WITHHELD_RECIPIENTS = CompiledStatement(
    sa.select(NOTIFICATIONS.c.recipient)
    .where(NOTIFICATIONS.c.state == _WITHHELD)
    .group_by(NOTIFICATIONS.c.recipient)
    .order_by(sa.func.min(NOTIFICATIONS.c.seq))
)
_COUNT_NEW = sa.select(sa.func.count()).where(
    RECIPIENTS.c.admitted_at > sa.bindparam("since"),
    RECIPIENTS.c.admitted_at <= sa.bindparam("now"),
    RECIPIENTS.c.is_counted,
)


class RecipientStore:
    """Implements `core.outbox.RecipientStore`.

    Caches results, so that a scan without changes makes no query: an address that was mailed once stays so. Whether
    notifications are withheld is only known while no other worker withholds any.
    """

    def __init__(self, database: Database, *, is_shared: bool = False) -> None:
        """`is_shared`: several workers use the database."""
        self._database = database
        self._is_shared = is_shared
        self._mailed: set[str] = set()
        self._may_have_withheld = True

    def clear_cache(self) -> None:
        """Clear the cache, because the database was replaced."""
        self._mailed, self._may_have_withheld = set(), True

    def withheld(self) -> list[str]:
        if not self._may_have_withheld:
            return []
        with self._database.reading() as connection:
            found = [row.recipient for row in _WITHHELD_RECIPIENTS.all(connection)]
        self._may_have_withheld = bool(found) or self._is_shared
        return found

    def unmailed(self, addresses: Iterable[str]) -> set[str]:
        asked = set(addresses) - self._mailed
        if asked:
            with self._database.reading() as connection:
                for some in chunks(sorted(asked)):
                    query = sa.select(RECIPIENTS.c.address).where(RECIPIENTS.c.address.in_(some))
                    self._mailed.update(connection.execute(query).scalars())
        return asked - self._mailed

    def import_mailed(self, addresses: Collection[str], now: float) -> None:
        known = set(addresses)
        with self._database.writing() as connection:
            self.add(connection, known, (), now)
        self.committed(known)

    def count_new(self, since: float, now: float) -> int:
        with self._database.reading() as connection:
            return int(connection.execute(_COUNT_NEW, {"since": since, "now": now}).scalar_one())

    def release(self, recipients: Iterable[str], now: float, *, newcomers: Collection[str] = ()) -> int:
        released, addresses = 0, set(recipients)
        with self._database.writing() as connection:
            for some in chunks(sorted(addresses)):
                is_theirs = sa.and_(NOTIFICATIONS.c.state == _WITHHELD, NOTIFICATIONS.c.recipient.in_(some))
                update = NOTIFICATIONS.update().where(is_theirs).values(state=PENDING, reason="")
                released += connection.execute(update).rowcount
            self.add(connection, addresses, newcomers, now)
        self.committed(addresses)
        return released

    def add(self, connection: sa.Connection, addresses: set[str], newcomers: Collection[str], now: float) -> None:
        """Record the addresses that are mailed for the first time; `committed` must follow the transaction."""
        new = addresses - self._mailed
        if new:
            rows = [{"address": each, "admitted_at": now, "is_counted": each in newcomers} for each in new]
            connection.execute(insert_new(RECIPIENTS), rows)

    def committed(self, addresses: set[str], *, has_withheld: bool = False) -> None:
        """These addresses are recorded as mailed; `has_withheld`: notifications were withheld in the transaction."""
        self._mailed |= addresses
        self._may_have_withheld = self._may_have_withheld or has_withheld
