"""The notifications of persons in PostgreSQL, with positions after which streams of all servers can continue.

Numbers are given before the commit, so a row with a lower number may appear after one with a higher number was read. A
position is therefore the transaction and the number of a row: no transaction below the oldest one that still runs can
add rows, so what is read up to there is complete.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from syftnotify.core.inbox import InboxBatch, InboxEntry
from syftnotify.store.outbox.inbox import XID_SHIFT, Inbox, batch_of, stream_position
from syftnotify.store.outbox.postgres.schema import VIEWS_SCHEMA
from syftnotify.store.outbox.schema import INBOX_ENTRIES

_IS_COMPLETE = "inbox.xid < pg_snapshot_xmin(pg_current_snapshot())"
_ROWS = f"SELECT *, inbox.xid::text AS xid FROM {VIEWS_SCHEMA}.inbox WHERE {_IS_COMPLETE}"
_AFTER = f"""
{_ROWS} AND (inbox.xid, seq) > (
        -- a position of a server that this database was restored from; its rows have transaction 0 now
        CASE WHEN %(xid)s::text::xid8 < pg_snapshot_xmax(pg_current_snapshot()) THEN %(xid)s::text::xid8 ELSE '0' END,
        %(seq)s)
    AND (%(recipient)s = '' OR recipient = %(recipient)s)
ORDER BY inbox.xid, seq LIMIT %(most)s
"""
_LAST = f"{_ROWS} ORDER BY inbox.xid DESC, seq DESC LIMIT 1"
_LATEST = f"{_ROWS} AND recipient = %(recipient)s ORDER BY inbox.xid DESC, seq DESC LIMIT 1"


class PostgresInbox(Inbox):
    """Implements `core.inbox.Inbox`."""

    _select = sa.select(INBOX_ENTRIES, sa.literal_column("inbox.xid::text").label("xid"))

    def after(self, position: int, limit: int, recipient: str = "") -> InboxBatch:
        xid, seq = divmod(position, 1 << XID_SHIFT)
        values: dict[str, Any] = {"xid": str(xid), "seq": seq, "recipient": recipient, "most": limit + 1}
        with self._database.reading() as connection:
            return batch_of(connection.exec_driver_sql(_AFTER, values).all(), limit)

    def position(self) -> int | None:
        with self._database.reading() as connection:
            row = connection.exec_driver_sql(_LAST).first()
        return None if row is None else stream_position(row)

    def latest(self, recipient: str) -> InboxEntry | None:
        with self._database.reading() as connection:
            found = batch_of(connection.exec_driver_sql(_LATEST, {"recipient": recipient}).all(), 1).entries
        return found[0] if found else None
