"""The outbox on SQLite."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.store.outbox.alert_rules import AlertRuleStore
from syftnotify.store.outbox.alert_targets import AlertTargets
from syftnotify.store.outbox.inbox import Inbox
from syftnotify.store.outbox.queue import SqliteQueue
from syftnotify.store.outbox.schema import COPIED_TO, COPY_ID, SERVER_KEYS
from syftnotify.store.outbox.sql_outbox import SqlOutbox
from syftnotify.store.outbox.sqlite_database import SqliteDatabase
from syftnotify.system.paths import Home


class SqliteOutbox(SqlOutbox):
    """Implements `core.outbox.OutboxStore` in one SQLite file."""

    def __init__(self, path: Path, *, repair: bool = True) -> None:
        """`repair=False` leaves a damaged database in place: only the holder of the worker lock may move it."""
        database = SqliteDatabase(path, repair=repair)
        super().__init__(
            database, AlertRuleStore(database, AlertTargets(Home(path.parent)), file=path), Inbox(database)
        )
        self._file = database
        self._repairs = repair
        self.queue = SqliteQueue(database, self.events)
        try:
            self._encrypt_alert_rules()
        except StateError:
            self.close()  # no caller gets this object to close it
            raise

    def _encrypt_alert_rules(self) -> None:
        if self._repairs:
            self.alert_rules.encrypt_stored()

    @property
    def corruption(self) -> str:
        return self._file.corruption

    def check(self) -> str:
        return self._file.check()

    def forget_copy(self) -> None:
        """Forget that the file was copied into a database, because it is used again. Raises: StateError."""
        is_mark = SERVER_KEYS.c.name.in_((COPY_ID, COPIED_TO))
        with self._database.reading() as connection:
            if connection.execute(sa.select(SERVER_KEYS.c.name).where(is_mark)).first() is None:
                return
        with self._database.writing() as connection:
            connection.execute(SERVER_KEYS.delete().where(is_mark))

    def close(self) -> None:
        self._file.close()

    def reopen_if_replaced(self) -> bool:
        try:
            is_replaced = self._file.reopen_if_replaced()
        except StateError:
            self.recipients.clear_cache()
            raise
        if is_replaced:
            self.recipients.clear_cache()
            self._encrypt_alert_rules()
        return is_replaced
