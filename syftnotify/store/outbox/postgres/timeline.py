"""Whether the database is still the one that it was: a restored backup or a promoted standby may lack changes.

Both begin a new timeline in PostgreSQL; a dump that is loaded elsewhere has another system identifier, and one that is
loaded into the same server has tables with other numbers. What was due then may have been sent by changes that are
lost, so it counts as of unknown outcome before anything is claimed.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa

from syftnotify.core.errors import Failure
from syftnotify.core.text import plural
from syftnotify.store.outbox.conditions import PENDING, UNKNOWN
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import NOW, TABLES_SCHEMA

log = logging.getLogger(__name__)

# The first eight digits of the name of a file of the write-ahead log are the timeline.
CURRENT_TIMELINE = f"""
(SELECT system_identifier::text FROM pg_control_system()) || '/'
    || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '/'
    || to_regclass('{TABLES_SCHEMA}.properties')::oid
"""
RECORDED_TIMELINE = f"(SELECT value FROM {TABLES_SCHEMA}.properties WHERE name = 'timeline')"
_RECORD = f"""
INSERT INTO {TABLES_SCHEMA}.properties (name, value) VALUES ('timeline', {CURRENT_TIMELINE})
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('syftnotify timeline', 0))"
_IS_CURRENT = f"SELECT {RECORDED_TIMELINE} IS NOT DISTINCT FROM {CURRENT_TIMELINE}"
_MARKED_AT_ONCE = 10_000  # each part is a transaction, so that none reaches the timeout of statements
_MARK_UNCERTAIN = f"""
WITH due AS (
    SELECT seq FROM {TABLES_SCHEMA}.notifications WHERE state = '{PENDING}' AND not_before <= {NOW}
    LIMIT {_MARKED_AT_ONCE} FOR UPDATE),
marked AS (
    UPDATE {TABLES_SCHEMA}.notifications n SET state = '{UNKNOWN}', reason = %(reason)s
    FROM due WHERE n.seq = due.seq RETURNING n.scope, n.id),
attempted AS (
    INSERT INTO {TABLES_SCHEMA}.attempts (scope, notification, started_at, ended_at, outcome, error, provider_id)
    SELECT scope, id, {NOW}, {NOW}, '{Failure.UNKNOWN.value}', %(reason)s, '' FROM marked),
counted AS (
    INSERT INTO {TABLES_SCHEMA}.totals (scope, name, value)
    SELECT scope, 'unknown', count(*) FROM marked GROUP BY scope ORDER BY scope
    ON CONFLICT (scope, name, shard) DO UPDATE SET value = totals.value + excluded.value)
SELECT count(*) FROM marked
"""
# Rows of another server have numbers of transactions that this one may reach in years. No live stream sends rows of
# transaction 0 as new ones.
_FORGET_TRANSACTIONS = f"""
UPDATE {TABLES_SCHEMA}.inbox SET xid = '0' WHERE ctid IN (
    SELECT ctid FROM {TABLES_SCHEMA}.inbox WHERE xid <> '0' AND xid >= pg_snapshot_xmax(pg_current_snapshot())
    LIMIT {_MARKED_AT_ONCE})
"""
_REASON = "the database was restored or a standby took over, and this may have been sent"


def record_timeline(connection: sa.Connection) -> None:
    """Record the timeline of a new database."""
    connection.exec_driver_sql(_RECORD)


def recorded_timeline(database: PostgresDatabase) -> str:
    """The timeline for which the notifications are right. Raises: StateError."""
    with database.reading() as connection:
        return str(connection.exec_driver_sql(f"SELECT {RECORDED_TIMELINE}").scalar())


def follow_timeline(database: PostgresDatabase) -> None:
    """Record as of unknown outcome what is due, if the timeline is not the recorded one.

    Raises:
        StateError: the database cannot be used.
    """
    count = 0
    while True:
        with database.writing() as connection:
            connection.exec_driver_sql(_LOCK)
            if connection.exec_driver_sql(_IS_CURRENT).scalar_one():  # another worker has done it, or the rest of it
                return
            marked = connection.exec_driver_sql(_MARK_UNCERTAIN, {"reason": _REASON}).scalar_one()
            count += marked
            changed = connection.exec_driver_sql(_FORGET_TRANSACTIONS).rowcount
            if max(marked, changed) < _MARKED_AT_ONCE or database.discards_changes:
                record_timeline(connection)
                break
    log.warning(
        "the database was restored or a standby took over; %s due, which may have been sent already",
        plural(count, "notification was", "notifications were"),
    )
