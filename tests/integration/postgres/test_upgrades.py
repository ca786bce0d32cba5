"""X12: the tables are upgraded while workers of the version before run."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import make_url

from syftnotify.core.errors import StateError
from syftnotify.store.outbox.postgres import migration, schema
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from tests.integration.postgres.conftest import OpenWorker
from tests.outbox_helpers import claim_next, enqueue, submitted
from tests.postgres import Server
from tests.support import OWNER, Box


def test_workers_of_two_versions_share_the_tables(
    open_worker: OpenWorker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_worker()
    with monkeypatch.context() as newer, closing(PostgresDatabase(database_url, OWNER)) as database:
        newer.setattr(migration, "SCHEMA_VERSION", 2)
        newer.setitem(schema.UPGRADES, 1, ("ALTER TABLE syftnotify.notifications ADD COLUMN note TEXT",))
        with pytest.raises(StateError, match="have version 1, this program needs 2"):
            open_worker()
        assert migration.migrate(database) == 1
        after = open_worker()

        enqueue(before, submitted("a"))
        after.queue.mark_sent(claim_next(after), 101.0)
        enqueue(after, submitted("b"))
        before.queue.mark_sent(claim_next(before), 102.0)
        assert after.history.counts().sent == 2

        newer.undo()
        open_worker()  # a worker of the version before starts
        newer.setattr(migration, "SCHEMA_VERSION", 3)
        newer.setitem(schema.UPGRADES, 2, ())
        assert migration.migrate(database) == 2
    with pytest.raises(StateError, match="were changed by a newer version"):
        open_worker()


def test_tables_of_a_newer_version_are_not_migrated(box: Box, server: Server, database_url: str) -> None:
    box.configure({"database": database_url})
    box.notify("db", "migrate", check=0)
    server.execute(
        "UPDATE syftnotify.properties SET value = '99' WHERE name <> 'timeline'", str(make_url(database_url).database)
    )
    assert "were changed by a newer version" in box.notify("db", "migrate", check=1).stderr
