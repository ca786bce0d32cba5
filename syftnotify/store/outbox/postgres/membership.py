"""The workers of a database: which of them are alive, and what dead ones have left behind.

Each worker renews a lease, and holds an advisory lock that ends with its connection. The lock shows the end of a
process at once; the lease shows that a process hangs, or that its machine cannot be reached. All times are those of the
database, whatever the clocks of the machines say.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from syftnotify import __version__
from syftnotify.core.cluster import Channel, WorkerMode, WorkerRecord
from syftnotify.core.errors import StateError
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import NOW, TABLES_SCHEMA
from syftnotify.store.outbox.postgres.transports import PostgresTransports

log = logging.getLogger(__name__)

_MAX_RETRY_SECONDS = 5.0
# Each NOTIFY makes the commits of all transactions wait for each other, so there are few of them.
_COALESCE_SECONDS = 0.1
_WORKERS = f"{TABLES_SCHEMA}.workers"
_LOCK_KEY = "hashtextextended('syftnotify worker ' || {id}, 0)"


@dataclass(frozen=True, slots=True)
class Lease:
    """For how long a worker counts as alive."""

    seconds: float = 60.0  # without a renewal
    renewal: float = 5.0  # seconds between two renewals
    # Seconds without a renewal after which a worker whose lock is free is dead, and seconds for which another worker
    # must have been connected before it decides that: after a restart of the database, all workers must connect again.
    patience: float = 15.0


_JOIN = f"""
INSERT INTO {_WORKERS} (scope, host, pid, mode, version, started_at, lease_until, has_lock)
VALUES (%(scope)s, %(host)s, %(pid)s, %(mode)s, %(version)s, {NOW}, {NOW} + %(seconds)s, false)
RETURNING id, {NOW} AS now
"""
_LOCK = f"SELECT pg_try_advisory_lock({_LOCK_KEY.format(id='%(id)s')})"
_HAS_LOCK = f"UPDATE {_WORKERS} SET has_lock = true WHERE id = %(id)s"
_RENEW = f"""
UPDATE {_WORKERS} SET lease_until = {NOW} + %(seconds)s WHERE id = %(id)s AND ended_at IS NULL RETURNING {NOW}
"""
# A worker becomes the leader if there is none, if the leader's time is over, or if it has ended: its lock is free then.
_ADD_SCOPE = f"INSERT INTO {TABLES_SCHEMA}.scopes (scope, context) VALUES (%(scope)s, '') ON CONFLICT DO NOTHING"
_LEAD = f"""
UPDATE {TABLES_SCHEMA}.scopes s SET leader = %(worker)s, leader_until = {NOW} + %(seconds)s
WHERE scope = %(scope)s AND (leader IS NULL OR leader = %(worker)s OR leader_until < {NOW}
    OR NOT EXISTS (SELECT 1 FROM {_WORKERS} w WHERE w.id = s.leader AND w.ended_at IS NULL
        AND NOT (w.has_lock AND pg_try_advisory_xact_lock({_LOCK_KEY.format(id="w.id")}))))
RETURNING leader
"""
_RENEW_LEAD = f"""
UPDATE {TABLES_SCHEMA}.scopes SET leader_until = {NOW} + %(seconds)s WHERE scope = %(scope)s AND leader = %(id)s
"""
_LOAD_LEDGER = f"SELECT ledger FROM {TABLES_SCHEMA}.scopes WHERE scope = %(scope)s"
_SAVE_LEDGER = f"""
UPDATE {TABLES_SCHEMA}.scopes SET ledger = %(content)s WHERE scope = %(scope)s AND leader = %(worker)s RETURNING leader
"""
_PUBLISH = f"""
INSERT INTO {TABLES_SCHEMA}.scopes (scope, context) VALUES (%(scope)s, %(context)s)
ON CONFLICT (scope) DO UPDATE SET context = excluded.context
"""
_CONTEXT = f"SELECT context FROM {TABLES_SCHEMA}.scopes WHERE scope = %(scope)s"
_ALIVE = f"""
SELECT w.id, w.scope, w.host, w.pid, w.mode, w.version, w.started_at, w.lease_until - %(seconds)s,
    coalesce(s.leader = w.id AND s.leader_until > {NOW}, false)
FROM {_WORKERS} w LEFT JOIN {TABLES_SCHEMA}.scopes s ON s.scope = w.scope
WHERE w.ended_at IS NULL AND w.lease_until > {NOW} ORDER BY w.id
"""
_END = f"UPDATE {_WORKERS} SET ended_at = {NOW} WHERE id = %(id)s AND ended_at IS NULL"
_END_DEAD = f"""
UPDATE {_WORKERS} SET ended_at = {NOW}
WHERE ended_at IS NULL AND id <> %(id)s
    AND (lease_until < {NOW}
        OR (has_lock AND lease_until - %(seconds)s + %(patience)s < {NOW}
            AND pg_try_advisory_xact_lock({_LOCK_KEY.format(id="id")})))
RETURNING id, host, pid
"""


class Membership:
    """One process among the workers of a database; implements `core.cluster.Cluster`.

    A thread with a connection of its own renews the lease, receives the notifications of other workers and sends those
    of this one. While the database cannot be reached, it connects again and again.
    """

    def __init__(
        self, database: PostgresDatabase, transports: PostgresTransports, *, lease: Lease | None = None
    ) -> None:
        self.transports = transports
        self._database = database
        self._lease = lease or Lease()
        self._lock = threading.Lock()
        self._mode = WorkerMode.FULL
        self._id = 0
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._waker, self._wakes = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wakes, False)
        self._connected_at: float | None = None  # on the monotonic clock; None: there is no connection
        self._announced: set[Channel] = set()  # channels that wait for a NOTIFY
        self._listeners: dict[Channel, list[Callable[[], None]]] = {}
        self._leads_seconds = 0.0  # for how long this worker leads after each renewal; 0.0: it does not
        self._offset: float | None = None  # the clock of the database minus the monotonic clock

    @property
    def name(self) -> str:
        return self._database.name

    @property
    def id(self) -> int:
        """The number of this worker in the database; 0: it has not joined."""
        return self._id

    def time(self) -> float:
        """The time of the database, in seconds since 1970; before the first connection that of this machine."""
        return time.time() if self._offset is None else time.monotonic() + self._offset

    def join(self, mode: WorkerMode | None = None) -> int:
        """Become a worker of the database, unless this process is one; returns its number."""
        with self._lock:
            self._mode = mode or self._mode
            if not self._id:
                values = {
                    "scope": self._database.scope,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "mode": self._mode.value,
                    "version": __version__,
                    "seconds": self._lease.seconds,
                }
                with self._database.writing() as connection:
                    row = connection.exec_driver_sql(_JOIN, values).one()
                self._id, self._offset = int(row.id), float(row.now) - time.monotonic()
                self._wake()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
                self._thread.start()
            return self._id

    def leave(self, worker: int) -> None:
        """`worker`, this process until now, counts as dead: the next `join` makes it another one."""
        with self._lock:
            if self._id == worker:
                log.warning("this worker did not respond for a time, and counts as dead; it joins again as another one")
                self._id = 0

    def end_dead_workers(self) -> int:
        """Record that workers are dead whose lease or connection has ended; returns how many.

        A process that was not connected for some time cannot know: the others may be about to connect again.
        """
        connected = self._connected_at
        if connected is None or time.monotonic() - connected < self._lease.patience:
            return 0
        values = {"id": self._id, "seconds": self._lease.seconds, "patience": self._lease.patience}
        with self._database.writing() as connection:
            dead = connection.exec_driver_sql(_END_DEAD, values).all()
        for row in dead:
            log.warning(
                "worker %d (pid %d on %s) is dead; what it was sending is sent again", row.id, row.pid, row.host
            )
        return len(dead)

    def workers(self) -> list[WorkerRecord]:
        with self._database.reading() as connection:
            rows = connection.exec_driver_sql(_ALIVE, {"seconds": self._lease.seconds})
            return [WorkerRecord(*tuple(row)) for row in rows]

    def lead(self, seconds: float) -> bool:
        values = {"worker": self.join(), "scope": self._database.scope, "seconds": seconds}
        with self._database.writing() as connection:
            connection.exec_driver_sql(_ADD_SCOPE, values)
            leads = connection.exec_driver_sql(_LEAD, values).first() is not None
        self._leads_seconds = seconds if leads else 0.0
        return leads

    def load_ledger(self) -> bytes | None:
        with self._database.reading() as connection:
            stored = connection.exec_driver_sql(_LOAD_LEDGER, {"scope": self._database.scope}).scalar()
        return None if stored is None else zlib.decompress(stored)

    def save_ledger(self, content: bytes) -> bool:
        values = {
            "scope": self._database.scope,
            "worker": self._id,
            "content": zlib.compress(content, level=1),
        }
        with self._database.writing() as connection:
            return connection.exec_driver_sql(_SAVE_LEDGER, values).first() is not None

    def publish(self, context: Mapping[str, Any]) -> None:
        values = {"scope": self._database.scope, "context": json.dumps(dict(context))}
        with self._database.writing() as connection:
            connection.exec_driver_sql(_PUBLISH, values)

    def context(self, scope: str) -> Mapping[str, Any] | None:
        with self._database.reading() as connection:
            stored = connection.exec_driver_sql(_CONTEXT, {"scope": scope}).scalar()
        found = json.loads(stored) if stored else None
        return found if isinstance(found, dict) else None

    def announce(self, channel: Channel) -> None:
        if self._thread is not None:
            self._announced.add(channel)
            self._wake()

    def listen(self, channel: Channel, listener: Callable[[], None]) -> None:
        self._listeners.setdefault(channel, []).append(listener)

    def close(self) -> None:
        """End the membership: what this process still holds is recovered by the others."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        if self._id:
            with contextlib.suppress(StateError), self._database.writing() as connection:
                connection.exec_driver_sql(_END, {"id": self._id})
        self._id = 0
        os.close(self._waker)
        os.close(self._wakes)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is woken already
            os.write(self._wakes, b"x")

    def _run(self) -> None:
        """The thread: a connection after the other."""
        failures = 0
        while not self._is_stopped:
            try:
                with contextlib.closing(self._database.connect()) as connection:
                    if failures:
                        log.info("the database %s can be reached again", self._database.name)
                    failures = 0
                    self._use(connection)
            except (StateError, psycopg.Error, OSError) as error:
                failures += 1
                if failures == 1 and not self._is_stopped:
                    log.warning("the connection to the database was lost: %s", " ".join(str(error).split()))
                self._connected_at = None
                self._wait(None, min(_MAX_RETRY_SECONDS, 0.5 * failures))
            except Exception:  # the outermost handler of a thread, without which this worker would count as dead
                log.exception("unexpected error in the thread of the database")
                self._wait(None, _MAX_RETRY_SECONDS)

    def _use(self, connection: psycopg.Connection[Any]) -> None:
        """Renew the lease over `connection`, and pass notifications on, until it fails or this object is closed."""
        locked, renewed, announced = 0, 0.0, 0.0
        is_direct = connection.info.backend_pid == self._execute(connection, "SELECT pg_backend_pid() AS pid", {})[0]
        if is_direct:
            for channel in self._listeners:
                self._execute(connection, f"LISTEN {channel}", {})
        else:
            log.info("a pooler is between this worker and the database: it polls, and holds no lock")
        self._connected_at = time.monotonic()
        self._call_listeners(self._listeners)  # what was announced before
        while not self._is_stopped:
            if is_direct and locked != self._id:
                locked = self._id
                if self._execute(connection, _LOCK, {"id": locked})[0]:
                    self._execute(connection, _HAS_LOCK, {"id": locked})
            if time.monotonic() - renewed >= self._renewal:
                renewed = time.monotonic()
                self._renew(connection)
            if self._announced and time.monotonic() - announced >= _COALESCE_SECONDS:
                announced = time.monotonic()
                channels, self._announced = self._announced, set()
                for channel in channels:
                    self._execute(connection, f"NOTIFY {channel}", {})
            seconds = max(0.0, renewed + self._renewal - time.monotonic())
            self._wait(connection, min(seconds, _COALESCE_SECONDS) if self._announced else seconds)
            self._call_listeners({Channel(note.channel) for note in connection.notifies(timeout=0)})

    @property
    def _renewal(self) -> float:
        """Seconds between two renewals."""
        return min(self._lease.renewal, self._leads_seconds / 4 or self._lease.renewal)

    def _renew(self, connection: psycopg.Connection[Any]) -> None:
        worker, asked = self._id, time.monotonic()
        found = self._execute(connection, _RENEW, {"id": worker, "seconds": self._lease.seconds})
        if found is not None and self._leads_seconds:
            values = {"id": worker, "scope": self._database.scope, "seconds": self._leads_seconds}
            self._execute(connection, _RENEW_LEAD, values)
        if found is None:
            if worker:
                self.leave(worker)
            return
        answered = time.monotonic()
        self._offset = float(found[0]) - (asked + answered) / 2

    @staticmethod
    def _execute(connection: psycopg.Connection[Any], statement: str, values: Mapping[str, Any]) -> Any:
        """The first row of the result of `statement`; None if there is none."""
        cursor = connection.execute(statement, values)
        return cursor.fetchone() if cursor.description else None

    def _wait(self, connection: psycopg.Connection[Any] | None, seconds: float) -> None:
        """Wait for a notification, for `_wake`, or for `seconds`."""
        readable: list[Any] = [self._waker, *([] if connection is None else [connection])]
        if self._waker in select.select(readable, [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._waker, 4096)

    def _call_listeners(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            for listener in self._listeners.get(channel, ()):
                listener()
