"""The domain of message ids: what was queued before it changed keeps the old one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from syftnotify.store.outbox.store import SqliteOutbox
from tests.outbox_helpers import enqueue, submitted
from tests.support import ANA, BO


def test_messages_queued_before_an_upgrade_keep_the_domain_of_their_id(tmp_path: Path) -> None:
    """An attempt before the upgrade may have delivered one, so a retry must have the same id."""
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, submitted("a"), to=ANA)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE notifications DROP COLUMN message_domain")
        connection.execute("DROP TABLE submissions")
        connection.execute("PRAGMA user_version = 5")
        connection.commit()
    with closing(SqliteOutbox(path)) as outbox:
        enqueue(outbox, submitted("b"), to=BO)
        claimed = outbox.queue.claim("box", 1e9, worker_id="w", limit=9)

    assert {item.recipient: item.message_domain for message in claimed for item in message} == {
        ANA: "syftnotify.local",
        BO: "",
    }
