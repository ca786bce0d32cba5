"""Rate limits and pauses of the transports, which all workers share."""

from __future__ import annotations

from collections.abc import Mapping

from syftnotify.core.cluster import TransportPause
from syftnotify.core.errors import Failure
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import NOW, TABLES_SCHEMA

_TRANSPORTS = f"{TABLES_SCHEMA}.transports"
# Nothing is lost if the last change of a rate limit is: the commit need not wait for the disk.
_WITHOUT_SYNC = "SET LOCAL synchronous_commit = off"
_ENSURE = f"INSERT INTO {_TRANSPORTS} (name) VALUES (%(name)s) ON CONFLICT DO NOTHING"
# `next_free` is the moment at which the limit has no debt any more. A message may be sent while the debt is less than
# that of `burst` messages, and each adds 1/rate (the generic cell rate algorithm).
_TAKE = f"""
WITH before AS (
    SELECT name, greatest(next_free, {NOW}) AS base, {NOW} AS now FROM {_TRANSPORTS} WHERE name = %(name)s FOR UPDATE),
granted AS (
    SELECT name, base, now,
        least(%(wanted)s, greatest(0, floor((now - base) * %(rate)s + %(burst)s + 1e-6)))::int AS granted
    FROM before)
UPDATE {_TRANSPORTS} t SET next_free = g.base + g.granted / %(rate)s
FROM granted g WHERE t.name = g.name
RETURNING g.granted, greatest(0, g.base + (g.granted + 1 - %(burst)s) / %(rate)s - g.now) AS wait
"""
_RETURN = f"UPDATE {_TRANSPORTS} SET next_free = next_free - %(count)s / %(rate)s WHERE name = %(name)s"
_PAUSE = f"""
INSERT INTO {_TRANSPORTS} (name, paused_until, pause_reason, pause_failure)
VALUES (%(name)s, %(until)s, %(reason)s, %(failure)s)
ON CONFLICT (name) DO UPDATE SET paused_until = greatest(transports.paused_until, excluded.paused_until),
    pause_reason = excluded.pause_reason, pause_failure = excluded.pause_failure
"""
_END_PAUSE = f"UPDATE {_TRANSPORTS} SET paused_until = 0, pause_reason = '', pause_failure = '' WHERE name = %(name)s"
_PAUSES = f"SELECT name, paused_until, pause_reason, pause_failure FROM {_TRANSPORTS} WHERE pause_failure <> ''"


class PostgresTransports:
    """Implements `core.cluster.SharedTransports`."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def take_permits(self, transport: str, rate: float, burst: int, wanted: int) -> tuple[int, float]:
        values = {"name": transport, "rate": float(rate), "burst": burst, "wanted": wanted}
        with self._database.writing() as connection:
            connection.exec_driver_sql(_WITHOUT_SYNC)
            row = connection.exec_driver_sql(_TAKE, values).first()
            if row is None:
                connection.exec_driver_sql(_ENSURE, values)
                row = connection.exec_driver_sql(_TAKE, values).one()
        return int(row.granted), float(row.wait)

    def return_permits(self, transport: str, rate: float, count: int) -> None:
        with self._database.writing() as connection:
            connection.exec_driver_sql(_WITHOUT_SYNC)
            connection.exec_driver_sql(_RETURN, {"name": transport, "rate": float(rate), "count": count})

    def pause(self, transport: str, pause: TransportPause) -> None:
        values = {
            "name": transport,
            "until": pause.until,
            "reason": pause.reason,
            "failure": pause.failure.value,
        }
        with self._database.writing() as connection:
            connection.exec_driver_sql(_PAUSE, values)

    def end_pause(self, transport: str) -> None:
        with self._database.writing() as connection:
            connection.exec_driver_sql(_END_PAUSE, {"name": transport})

    def pauses(self) -> Mapping[str, TransportPause]:
        with self._database.reading() as connection:
            return {
                row.name: TransportPause(row.paused_until, row.pause_reason, Failure(row.pause_failure))
                for row in connection.exec_driver_sql(_PAUSES)
            }
