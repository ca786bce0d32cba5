"""Facts about a database and its server, for `notify db status` and `notify doctor`."""

from __future__ import annotations

import time

from syftnotify.core.cluster import DatabaseFacts
from syftnotify.core.errors import StateError
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.migration import schema_status
from syftnotify.store.outbox.postgres.schema import NOW, SCHEMA_VERSION, TABLES_SCHEMA, VIEWS_SCHEMA

_FACTS = f"""
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    pg_is_in_recovery() AS is_standby, {NOW} AS now, pg_database_size(current_database()) AS size,
    (SELECT sum(numbackends) FROM pg_stat_database)::int AS connections,
    current_setting('max_connections')::int AS max_connections,
    -- live streams wait for transactions that write in any database of the server
    coalesce((SELECT max(extract(epoch FROM clock_timestamp() - xact_start)) FROM pg_stat_activity
        WHERE (datname = current_database() OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()), 0)
        AS oldest_transaction,
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all_users,
    has_database_privilege(current_database(), 'CREATE') AS can_create
"""
# `has_table_privilege` is true if one of the privileges is there.
_CAN_WRITE = f"""
SELECT (SELECT coalesce(bool_and(has_schema_privilege(oid, 'USAGE')), true)
        FROM pg_namespace WHERE nspname IN ('{TABLES_SCHEMA}', '{VIEWS_SCHEMA}'))
    AND (SELECT coalesce(bool_and(has_table_privilege(c.oid, privilege)), true)
        FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace,
            unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(privilege)
        WHERE s.nspname IN ('{TABLES_SCHEMA}', '{VIEWS_SCHEMA}') AND c.relkind IN ('r', 'v'))
"""


def inspect(url: str) -> DatabaseFacts:
    """Facts about the database at `url`; nothing is created.

    Raises:
        StateError: it cannot be reached.
    """
    database = PostgresDatabase(url, "")
    try:
        asked = time.time()
        with database.reading() as connection:
            row = connection.exec_driver_sql(_FACTS).one()
            can_write = bool(connection.exec_driver_sql(_CAN_WRITE).scalar_one())
            is_pooled = database.is_pooled(connection)
        answered = time.time()
        try:
            version = schema_status(database).version
        except StateError:  # no privilege to read them
            version = 0
        return DatabaseFacts(
            name=database.name,
            server_version=row.version,
            server_number=row.number,
            is_standby=row.is_standby,
            is_pooled=is_pooled,
            schema_version=version,
            needed_version=SCHEMA_VERSION,
            size=row.size,
            clock_difference=(asked + answered) / 2 - float(row.now),
            connections=row.connections,
            max_connections=row.max_connections,
            oldest_transaction=float(row.oldest_transaction),
            sees_all_users=row.sees_all_users,
            can_write=can_write and (bool(version) or row.can_create),
        )
    finally:
        database.close()
