"""Which worker of a home leads, and the ledger that it hands over. All times are those of the database."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

import psycopg

from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.lease import WORKERS, Lease, lock_key
from syftnotify.store.outbox.postgres.schema import NOW, TABLES_SCHEMA

_SCOPES = f"{TABLES_SCHEMA}.scopes"
_ADD_SCOPE = f"INSERT INTO {_SCOPES} (scope, context) VALUES (%(scope)s, '') ON CONFLICT DO NOTHING"
# A worker becomes the leader if there is none, if the leader's time is over, or if the leader has ended: it renews
# nothing then, and its lock is free.
_ACQUIRE = f"""
UPDATE {_SCOPES} s SET leader = %(worker)s, leader_until = {NOW} + %(seconds)s,
    epoch = epoch + (leader IS DISTINCT FROM %(worker)s)::int
WHERE scope = %(scope)s AND (leader IS NULL OR leader = %(worker)s OR leader_until < {NOW}
    OR NOT EXISTS (SELECT 1 FROM {WORKERS} w WHERE w.id = s.leader AND w.ended_at IS NULL
        AND NOT (w.has_lock AND w.lease_until - %(lease)s + %(patience)s < {NOW}
            AND pg_try_advisory_xact_lock({lock_key("w.id")}))))
RETURNING epoch
"""
_RENEW = f"UPDATE {_SCOPES} SET leader_until = {NOW} + %(seconds)s WHERE scope = %(scope)s AND leader = %(worker)s"
_RELEASE = f"UPDATE {_SCOPES} SET leader = NULL WHERE scope = %(scope)s AND leader = %(worker)s"
_IS_TAKEN = f"""
SELECT EXISTS (SELECT 1 FROM {_SCOPES} s JOIN {WORKERS} w ON w.id = s.leader
    WHERE s.scope = %(scope)s AND s.leader <> %(worker)s AND s.leader_until > {NOW} AND w.ended_at IS NULL)
"""
_LOAD_LEDGER = f"SELECT ledger FROM {_SCOPES} WHERE scope = %(scope)s"
_SAVE_LEDGER = f"""
UPDATE {_SCOPES} SET ledger = %(content)s WHERE scope = %(scope)s AND leader = %(worker)s RETURNING leader
"""


class PostgresLeaderClaim:
    """The claim of one worker; implements `core.cluster.LeaderClaim`."""

    def __init__(self, database: PostgresDatabase, lease: Lease, worker: Callable[[], int]) -> None:
        """`worker` returns the number of this worker, which joins if it has none."""
        self._database = database
        self._lease = lease
        self._worker = worker
        self.seconds = 0.0  # for how long this worker leads after each renewal; 0.0: it does not
        self._extended_at = 0.0  # on the monotonic clock: the last call of `acquire` or `extend`

    def acquire(self, seconds: float) -> int:
        values = {
            **self._identity(),
            "seconds": seconds,
            "lease": self._lease.seconds,
            "patience": min(self._lease.patience, seconds / 2),
        }
        with self._database.writing() as connection:
            connection.exec_driver_sql(_ADD_SCOPE, values)
            epoch = connection.exec_driver_sql(_ACQUIRE, values).scalar()
        self.extend()
        self.seconds = 0.0 if epoch is None else seconds
        return epoch or 0

    def extend(self) -> None:
        self._extended_at = time.monotonic()

    def renew(self, connection: psycopg.Connection[object], worker: int) -> None:
        """Prolong the claim, unless the scan has made no progress for long; together with the lease of `worker`."""
        if self.seconds and time.monotonic() - self._extended_at < self._lease.longest_scan:
            values = {"worker": worker, "scope": self._database.scope, "seconds": self.seconds}
            connection.execute(_RENEW, values)

    def release(self) -> None:
        self.seconds = 0.0
        with self._database.writing() as connection:
            connection.exec_driver_sql(_RELEASE, self._identity())

    def is_taken(self) -> bool:
        with self._database.reading() as connection:
            return bool(connection.exec_driver_sql(_IS_TAKEN, self._identity()).scalar_one())

    def load_ledger(self) -> bytes | None:
        with self._database.reading() as connection:
            stored = connection.exec_driver_sql(_LOAD_LEDGER, {"scope": self._database.scope}).scalar()
        return None if stored is None else zlib.decompress(stored)

    def save_ledger(self, content: bytes) -> bool:
        values = {**self._identity(), "content": zlib.compress(content, level=1)}
        with self._database.writing() as connection:
            return connection.exec_driver_sql(_SAVE_LEDGER, values).first() is not None

    def _identity(self) -> dict[str, object]:
        return {"worker": self._worker(), "scope": self._database.scope}
