"""The outbox on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from syftnotify.core.cluster import Channel
from syftnotify.core.errors import StateError
from syftnotify.core.models import INBOX, Notification
from syftnotify.store.outbox.alert_rules import AlertRuleStore
from syftnotify.store.outbox.alert_targets import AlertTargets
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.inbox import PostgresInbox
from syftnotify.store.outbox.postgres.lease import Lease
from syftnotify.store.outbox.postgres.membership import Membership
from syftnotify.store.outbox.postgres.migration import prepare
from syftnotify.store.outbox.postgres.queue import PostgresQueue
from syftnotify.store.outbox.postgres.timeline import follow_timeline, recorded_timeline
from syftnotify.store.outbox.postgres.transports import PostgresTransports
from syftnotify.store.outbox.recipients import RecipientStore
from syftnotify.store.outbox.sql_outbox import SqlOutbox
from syftnotify.system.paths import Home


class PostgresOutbox(SqlOutbox):
    """Implements `core.outbox.OutboxStore` in a PostgreSQL database, for one of the homes that share it."""

    def __init__(
        self,
        url: str,
        scope: str,
        home: Home,
        *,
        creates: bool = True,
        discards_changes: bool = False,
        lease: Lease | None = None,
    ) -> None:
        """Open a database.

        Args:
            url: as SQLAlchemy writes it, `postgresql+psycopg://...`.
            scope: the name of the home in the database.
            home: has the key that encrypts the targets of alert rules.
            creates: whether its tables are created if there are none.
            discards_changes: every transaction is rolled back, for a dry run.
            lease: for how long a worker counts as alive; None: the default.

        Raises:
            NoTablesError: there are no tables.
            StateError: the database cannot be reached, or is one of another version.
        """
        database = PostgresDatabase(url, scope, discards_changes=discards_changes)
        super().__init__(database, AlertRuleStore(database, AlertTargets(home)), PostgresInbox(database))
        self.recipients = RecipientStore(database, is_shared=True)
        self._members = Membership(database, PostgresTransports(database), lease=lease)
        self.queue = PostgresQueue(database, self.events, self._members)
        self._postgres = database
        try:
            prepare(database, creates=creates)
            self._timeline = recorded_timeline(database)
        except StateError:
            self.close()  # no caller gets this object to close it
            raise

    @property
    def cluster(self) -> Membership:
        return self._members

    @property
    def corruption(self) -> str:
        return ""

    def check(self) -> str:
        return ""

    def reopen_if_replaced(self) -> bool:
        """Whether another database was restored in place of this one, or a standby took over."""
        follow_timeline(self._postgres)
        before, self._timeline = self._timeline, recorded_timeline(self._postgres)
        if before == self._timeline:
            return False
        self.recipients.clear_cache()
        return True

    def _enqueued(self, notifications: Sequence[Notification]) -> None:
        if notifications:
            self._members.announce(Channel.QUEUE)
        if any(item.medium == INBOX for item in notifications):
            self._members.announce(Channel.INBOX)

    def close(self) -> None:
        self._members.close()
        self._postgres.close()
