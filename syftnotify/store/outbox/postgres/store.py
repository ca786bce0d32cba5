"""The outbox on PostgreSQL."""

from __future__ import annotations

from syftnotify.store.outbox.alert_rules import AlertRuleStore
from syftnotify.store.outbox.alert_targets import AlertTargets
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.inbox import PostgresInbox
from syftnotify.store.outbox.postgres.membership import Lease, Membership
from syftnotify.store.outbox.postgres.migration import prepare
from syftnotify.store.outbox.postgres.queue import PostgresQueue
from syftnotify.store.outbox.postgres.transports import PostgresTransports
from syftnotify.store.outbox.sql_outbox import SqlOutbox
from syftnotify.system.paths import Home


class PostgresOutbox(SqlOutbox):
    """Implements `core.outbox.OutboxStore` in a PostgreSQL database, for one of the homes that share it."""

    def __init__(self, url: str, scope: str, home: Home, *, lease: Lease | None = None) -> None:
        """`scope` is the name of the home in the database; `home` has the key that encrypts targets of alert rules.

        Raises:
            StateError: the database cannot be reached, or is one of another version.
        """
        database = PostgresDatabase(url, scope)
        super().__init__(database, AlertRuleStore(database, AlertTargets(home)), PostgresInbox(database))
        prepare(database)
        self.membership = Membership(database, lease=lease)
        self.queue = PostgresQueue(database, self.events, self.membership)
        self.shared = PostgresTransports(database)
        self._postgres = database

    @property
    def corruption(self) -> str:
        return ""

    def check(self) -> str:
        return ""

    def reopen_if_replaced(self) -> bool:
        return False

    def close(self) -> None:
        self.membership.close()
        self._postgres.close()
