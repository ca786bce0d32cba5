"""The workers of a database: which of them are alive, and what dead ones have left behind.

Each worker renews a lease, and holds an advisory lock that ends with its connection. The lock shows the end of a
process at once; the lease shows that a process is stopped, or that its machine cannot be reached. All times are those
of the database, whatever the clocks of the machines say.
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
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psycopg

from syftnotify import __version__
from syftnotify.core.cluster import Channel, WorkerMode, WorkerRecord
from syftnotify.core.errors import StateError
from syftnotify.store.outbox.postgres.copies import require_complete
from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.leader import PostgresLeaderClaim
from syftnotify.store.outbox.postgres.lease import WORKERS, Lease, lock_key
from syftnotify.store.outbox.postgres.schema import NOW, TABLES_SCHEMA
from syftnotify.store.outbox.postgres.transports import PostgresTransports

log = logging.getLogger(__name__)

_MAX_RETRY_SECONDS = 5.0
_REMINDER_SECONDS = 600.0  # between two log entries about one outage
# Each NOTIFY makes the commits of all transactions wait for each other, so there are few of them.
_COALESCE_SECONDS = 0.1
_ENDED_KEPT_SECONDS = 86_400.0


_JOIN = f"""
INSERT INTO {WORKERS} (scope, host, pid, mode, version, transports, started_at, lease_until, has_lock)
VALUES (%(scope)s, %(host)s, %(pid)s, %(mode)s, %(version)s, %(transports)s, {NOW}, {NOW} + %(seconds)s, false)
RETURNING id, started_at, {NOW} AS now
"""
_LOCK = f"SELECT pg_try_advisory_lock({lock_key('%(id)s')})"
_HAS_LOCK = f"UPDATE {WORKERS} SET has_lock = %(locked)s WHERE id = %(id)s"
_RENEW = f"""
UPDATE {WORKERS} SET lease_until = {NOW} + %(seconds)s
WHERE id = %(id)s AND started_at = %(started)s AND ended_at IS NULL RETURNING {NOW}
"""
_ALIVE = f"""
SELECT w.id, w.scope, w.host, w.pid, w.mode, w.version, w.started_at, w.lease_until - %(seconds)s,
    coalesce(s.leader = w.id AND s.leader_until > {NOW}, false), w.transports
FROM {WORKERS} w LEFT JOIN {TABLES_SCHEMA}.scopes s ON s.scope = w.scope
WHERE w.ended_at IS NULL AND w.lease_until > {NOW} ORDER BY w.id
"""
_END = f"UPDATE {WORKERS} SET ended_at = {NOW} WHERE id = %(id)s AND ended_at IS NULL"
_END_DEAD = f"""
UPDATE {WORKERS} SET ended_at = {NOW} WHERE id IN (
    SELECT id FROM {WORKERS} w
    WHERE ended_at IS NULL AND id <> %(id)s
        AND (lease_until < {NOW}
            OR (has_lock AND lease_until - %(seconds)s + %(patience)s < {NOW}
                AND pg_try_advisory_xact_lock({lock_key("id")})))
        AND EXISTS (SELECT 1 FROM {WORKERS} own WHERE own.id = %(id)s AND own.ended_at IS NULL
            AND own.lease_until - %(seconds)s + %(patience)s > {NOW})
    FOR UPDATE SKIP LOCKED)
RETURNING id, host, pid
"""
_PUBLISH = f"""
INSERT INTO {TABLES_SCHEMA}.scopes (scope, context, is_enabled) VALUES (%(scope)s, %(context)s, %(enabled)s)
ON CONFLICT (scope) DO UPDATE SET context = excluded.context, is_enabled = excluded.is_enabled
"""
_FORGET_ENDED = f"DELETE FROM {WORKERS} WHERE ended_at < {NOW} - {_ENDED_KEPT_SECONDS}"


def _clock() -> float:
    """Seconds that also pass while the machine is suspended, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _notify(connection: psycopg.Connection[Any], announced: set[Channel]) -> None:
    """Send what was announced, and remove it from the set."""
    for channel in tuple(announced):
        announced.discard(channel)  # before: what is announced meanwhile is not lost
        try:
            connection.execute(f"NOTIFY {channel}")
        except psycopg.Error:
            announced.add(channel)
            raise


class Membership:
    """One process among the workers of a database; implements `core.cluster.Cluster`.

    A thread with a connection of its own renews the lease, receives the notifications of other workers and sends those
    of this one. While the database cannot be reached, it connects again and again.
    """

    def __init__(
        self, database: PostgresDatabase, transports: PostgresTransports, *, lease: Lease | None = None
    ) -> None:
        self._database = database
        self._lease = lease or Lease()
        self.transports = transports
        self.leader = PostgresLeaderClaim(database, self._lease, self.join)
        self._lock = threading.Lock()
        self._mode = WorkerMode.FULL
        self._transports: dict[str, str] = {}
        self._id = 0
        # With the number it identifies this worker: a restored database may give the number to another one.
        self.started_at = 0.0
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._waking = threading.Lock()
        self._waker, self._wakes = os.pipe()  # -1 after `close`
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wakes, False)
        # On the monotonic clock: since when this worker renews its lease without a break, and when it did so last.
        # None: there is no connection.
        self._steady_since: float | None = None
        self._renewed_at: float | None = None
        self._alive_until = 0.0  # before it nobody can record the death of this worker; by `_clock`
        self._announced: set[Channel] = set()  # channels that wait for a NOTIFY
        self._listeners: dict[Channel, list[Callable[[], None]]] = {}
        self._failures = 0  # in a row, of the connection
        self._reported_at = 0.0  # when one was logged, on the monotonic clock
        self._offset: float | None = None  # the clock of the database minus the monotonic clock

    @property
    def name(self) -> str:
        return self._database.name

    @property
    def scope(self) -> str:
        return self._database.scope

    @property
    def id(self) -> int:
        """The number of this worker in the database; 0: it has not joined."""
        return self._id

    def time(self) -> float:
        """The time of the database, in seconds since 1970; before the first connection that of this machine."""
        return time.time() if self._offset is None else time.monotonic() + self._offset

    @property
    def is_outage_known(self) -> bool:
        return self._failures > 0

    def join(self, mode: WorkerMode | None = None, transports: Mapping[str, str] | None = None) -> int:
        """Become a worker of the database, unless this process is one; returns its number.

        Raises:
            StateError: the database cannot be used, or the copy of a file into this home is not complete.
        """
        with self._lock:
            self._mode = mode or self._mode
            self._transports = dict(transports or self._transports)
            if not self._id:
                values = {
                    "scope": self._database.scope,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "mode": self._mode.value,
                    "version": __version__,
                    "transports": json.dumps(self._transports),
                    "seconds": self._lease.seconds,
                }
                asked = _clock()
                with self._database.writing() as connection:
                    require_complete(connection, self._database)
                    row = connection.exec_driver_sql(_JOIN, values).one()
                self._alive_until = asked + self._lease.patience
                self._id, self.started_at = int(row.id), float(row.started_at)
                self._offset = float(row.now) - time.monotonic()
                self._wake()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
                self._thread.start()
            return self._id

    def is_alive(self, worker: int) -> bool:
        """Whether `worker` is this process, and has renewed its lease so lately that nobody takes it for dead."""
        return self._id == worker and _clock() < self._alive_until

    def leave(self, worker: int) -> None:
        """`worker`, this process until now, counts as dead: the next `join` makes it another one."""
        with self._lock:
            if self._id == worker:
                log.warning("this worker did not respond for a time, and counts as dead; it joins again as another one")
                self._id = 0

    def end_dead_workers(self) -> int:
        """Record that workers are dead whose lease or connection has ended; returns how many.

        A process that could not renew its own lease for some time cannot know: the others may be about to renew theirs.
        """
        since = self._steady_since
        if since is None or time.monotonic() - since < self._lease.patience:
            return 0
        values = {"id": self._id, "seconds": self._lease.seconds, "patience": self._lease.patience}
        with self._database.writing() as connection:
            dead = connection.exec_driver_sql(_END_DEAD, values).all()
            connection.exec_driver_sql(_FORGET_ENDED)
        for row in dead:
            log.warning(
                "worker %d (pid %d on %s) is dead; what it was sending is sent again", row.id, row.pid, row.host
            )
        return len(dead)

    def workers(self) -> list[WorkerRecord]:
        with self._database.reading() as connection:
            rows = connection.exec_driver_sql(_ALIVE, {"seconds": self._lease.seconds})
            return [WorkerRecord(*(*tuple(row)[:-1], json.loads(row.transports))) for row in rows]

    def publish(self, context: Mapping[str, Any], *, is_enabled: bool = True) -> None:
        values = {"scope": self._database.scope, "context": json.dumps(dict(context)), "enabled": is_enabled}
        with self._database.writing() as connection:
            connection.exec_driver_sql(_PUBLISH, values)

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
        if self._id or self._announced:
            with contextlib.suppress(StateError), self._database.writing() as connection:
                connection.exec_driver_sql(_END, {"id": self._id})
                for channel in tuple(self._announced):
                    connection.exec_driver_sql(f"NOTIFY {channel}")
        self._id = 0
        with self._waking:  # nobody may write into what gets these numbers next
            os.close(self._waker)
            os.close(self._wakes)
            self._waker = self._wakes = -1

    def _wake(self) -> None:
        with self._waking:
            if self._wakes >= 0:
                with contextlib.suppress(BlockingIOError):  # it is woken already
                    os.write(self._wakes, b"x")

    def _run(self) -> None:
        """The thread: a connection after the other."""
        while not self._is_stopped:
            try:
                with contextlib.closing(self._database.connect()) as connection:
                    self._use(connection)
            except (StateError, psycopg.Error, OSError) as error:
                self._report_outage(error)
                self._steady_since = None
                self._wait(None, min(_MAX_RETRY_SECONDS, 0.5 * self._failures))
            except Exception:  # the outermost handler of a thread, without which this worker would count as dead
                log.exception("unexpected error in the thread of the database")
                self._wait(None, _MAX_RETRY_SECONDS)

    def _report_outage(self, error: Exception) -> None:
        """Log the first failure of an outage, and a reminder from time to time."""
        self._failures += 1
        now = time.monotonic()
        if self._is_stopped or (self._failures > 1 and now - self._reported_at < _REMINDER_SECONDS):
            return
        self._reported_at = now
        log.warning("the connection to the database was lost: %s", " ".join(str(error).split()))

    def _use(self, connection: psycopg.Connection[Any]) -> None:
        """Renew the lease over `connection`, and pass notifications on, until it fails or this object is closed."""
        locked, renewed, announced = 0, 0.0, 0.0
        is_direct = connection.info.backend_pid == self._execute(connection, "SELECT pg_backend_pid() AS pid", {})[0]
        if is_direct:
            for channel in self._listeners:
                self._execute(connection, f"LISTEN {channel}", {})
        else:
            log.info("a pooler is between this worker and the database: it polls, and holds no lock")
        if self._id:
            self._execute(connection, _HAS_LOCK, {"id": self._id, "locked": False})
        if self._failures:
            log.info("the database %s can be reached again", self._database.name)
        self._failures = 0
        self._steady_since, self._renewed_at = time.monotonic(), None
        self._call_listeners(self._listeners)  # what was announced before
        while not self._is_stopped:
            # Another worker has it for the moment in which it finds out whether this one is alive.
            if is_direct and locked != self._id and self._execute(connection, _LOCK, {"id": self._id})[0]:
                locked = self._id
                self._execute(connection, _HAS_LOCK, {"id": locked, "locked": True})
            if time.monotonic() - renewed >= self._renewal:
                renewed = time.monotonic()
                self._renew(connection)
            if self._announced and time.monotonic() - announced >= _COALESCE_SECONDS:
                announced = time.monotonic()
                _notify(connection, self._announced)
            # Before the wait: what arrived with the response to a statement makes no descriptor readable.
            self._call_listeners({Channel(note.channel) for note in connection.notifies(timeout=0)})
            seconds = max(0.0, renewed + self._renewal - time.monotonic())
            self._wait(connection, min(seconds, _COALESCE_SECONDS) if self._announced else seconds)

    @property
    def _renewal(self) -> float:
        """Seconds between two renewals."""
        return min(self._lease.renewal, self.leader.seconds / 4 or self._lease.renewal)

    def _renew(self, connection: psycopg.Connection[Any]) -> None:
        worker, asked, alive_until = self._id, time.monotonic(), _clock() + self._lease.patience
        renewal = {"id": worker, "started": self.started_at, "seconds": self._lease.seconds}
        found = self._execute(connection, _RENEW, renewal)
        if found is None:
            if worker:
                self.leave(worker)
                self.join()
            return
        self.leader.renew(connection, worker)
        self._alive_until = alive_until
        answered = time.monotonic()
        if self._renewed_at is not None and answered - self._renewed_at > self._lease.patience:
            self._steady_since = answered
        self._renewed_at = answered
        self._offset = float(found[0]) - (asked + answered) / 2

    @staticmethod
    def _execute(connection: psycopg.Connection[Any], statement: str, values: Mapping[str, Any]) -> Any:
        """The first row of the result of `statement`; None if there is none."""
        cursor = connection.execute(statement, values)
        return cursor.fetchone() if cursor.description else None

    def _wait(self, connection: psycopg.Connection[Any] | None, seconds: float) -> None:
        """Wait for a notification, for `_wake`, or for `seconds`."""
        poll = select.poll()  # not `select`, which refuses the descriptors of a process with a thousand connections
        for readable in (self._waker, *([] if connection is None else [connection.fileno()])):
            poll.register(readable, select.POLLIN)
        if any(descriptor == self._waker for descriptor, _ in poll.poll(seconds * 1000)):
            with contextlib.suppress(BlockingIOError):
                os.read(self._waker, 4096)

    def _call_listeners(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            for listener in self._listeners.get(channel, ()):
                listener()
