"""Connections and transactions of a PostgreSQL database."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.store.outbox.postgres.schema import SCOPE_SETTING, TABLES_SCHEMA, VIEWS_SCHEMA

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60.0  # after which the server ends a statement
_LOCK_SECONDS = 20.0  # after which it ends a statement that waits for a lock
# A network that drops all packets: a read waits for ever, whatever the options of TCP say, because the statement was
# sent and acknowledged. So the socket is closed after this time.
_DEADLINE_SECONDS = STATEMENT_SECONDS + 30.0
_POOL_SIZE, _POOL_OVERFLOW, _POOL_SECONDS = 5, 15, 20.0
# States after which the connection is closed: the server is a standby, shuts down, starts, or refuses.
_FATAL_STATES = frozenset({"25006", "57P01", "57P02", "57P03", "57P05", "08006"})
# By the beginning of the state, as the SQL standard has it.
_HINTS = {
    "28": "check user and password in `database`",
    "3D": "create the database, or correct its name in `database`",
    "42501": "grant the user of `database` the rights on its tables, or run `notify db migrate` as their owner",
    "42P01": "run `notify db migrate`",
    "53": "the server has no free disk, memory or connections; everything is kept and tried again",
    "25": "the server is a read-only standby; name the primary in `database`, or all servers and "
    "`target_session_attrs=read-write`",
}


class PostgresDatabase:
    """One database as the home `scope` sees it.

    Raises:
        StateError: (any method) it cannot be reached, read or written. Nothing of the transaction is stored, unless the
            connection was lost during its commit.
    """

    def __init__(self, url: str, scope: str, *, discards_changes: bool = False) -> None:
        """`url` is that of SQLAlchemy: `postgresql+psycopg://...`. Nothing is connected yet.

        `discards_changes` rolls every transaction back.
        """
        self.scope = scope
        self._discards_changes = discards_changes
        self._url = sa.make_url(url)
        self._local = threading.local()  # `connection`: the transaction of a batch in this thread
        self._deadlines = _Deadlines()
        defaults: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "syftnotify",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
        self._engine = sa.create_engine(
            self._url,
            connect_args={key: value for key, value in defaults.items() if key not in self._url.query},
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_timeout=_POOL_SECONDS,
            pool_pre_ping=True,  # a connection that the server has closed meanwhile is replaced
            hide_parameters=True,
        )
        sa.event.listen(self._engine, "connect", self._configure)
        sa.event.listen(self._engine, "begin", self._begin)

    @property
    def name(self) -> str:
        """The address of the database for people: without password and options."""
        return str(self._url.set(drivername="postgresql", password=None, query={}))

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of its own, which commits each statement. The caller closes it."""
        with self._errors():
            connection = self._engine.raw_connection()
            driver: psycopg.Connection[Any] = connection.driver_connection  # type: ignore[assignment] # psycopg's
            connection.detach()  # not part of the pool any more
            driver.rollback()
            driver.autocommit = True
            return driver

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self.writing() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that may write."""
        with self._errors(), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            with self.watching(driver):
                try:
                    with connection.begin() as transaction:
                        yield connection
                        if self._discards_changes:
                            transaction.rollback()
                except (sa.exc.DBAPIError, psycopg.Error) as error:
                    if _sqlstate(error) in _FATAL_STATES:
                        connection.invalidate()
                    raise

    @staticmethod
    def is_pooled(connection: sa.Connection) -> bool:
        """Whether a pooler is between `connection` and the server."""
        return bool(connection.connection.info.get("is_pooled"))

    def watching(self, connection: Any) -> contextlib.AbstractContextManager[None]:
        """A block in which `connection` is closed if the database does not respond for long."""
        return self._deadlines.watching(connection)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the driver as `StateError`."""
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
            cause = getattr(error, "orig", None) or error
            state = _sqlstate(error)
            found = (hint for prefix, hint in _HINTS.items() if state.startswith(prefix))
            hint = next(found, "check that the server runs and can be reached; everything is kept")
            text = " ".join(str(cause).split()) or type(cause).__name__
            raise StateError(f"{self.name} cannot be used: {text}", hint=hint) from error

    def close(self) -> None:
        """Close all connections; one that is in use by another thread is closed at the end of its transaction."""
        self._engine.dispose()
        self._deadlines.stop()

    def _configure(self, connection: Any, record: Any) -> None:
        """Prepare a new connection."""
        driver = connection.driver_connection if hasattr(connection, "driver_connection") else connection
        driver.adapters.register_dumper(str, _TextDumper)
        driver.adapters.register_loader("text", _TextLoader)
        with driver.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            # A pooler between the two gives each client a process id that is none of the server. It may give each
            # transaction another connection, which knows no prepared statements and no settings of the session.
            is_pooled = cursor.fetchone()[0] != driver.info.backend_pid
            if is_pooled:
                driver.prepare_threshold = None
            else:
                cursor.execute(_SETTINGS, self._settings(is_local=False))
        driver.commit()
        record.info["is_pooled"] = is_pooled

    def _begin(self, connection: sa.Connection) -> None:
        if self.is_pooled(connection):
            with contextlib.closing(connection.connection.cursor()) as cursor:
                cursor.execute(_SETTINGS, self._settings(is_local=True))

    def _settings(self, *, is_local: bool) -> dict[str, Any]:
        return {
            "local": is_local,
            "scope": self.scope,
            "statement": f"{STATEMENT_SECONDS:.0f}s",
            "lock": f"{_LOCK_SECONDS:.0f}s",
        }


_SETTINGS = f"""
SELECT set_config('search_path', '{VIEWS_SCHEMA}, {TABLES_SCHEMA}', %(local)s),
    set_config('{SCOPE_SETTING}', %(scope)s, %(local)s),
    set_config('statement_timeout', %(statement)s, %(local)s),
    set_config('lock_timeout', %(lock)s, %(local)s),
    set_config('idle_in_transaction_session_timeout', %(statement)s, %(local)s)
"""


# PostgreSQL refuses NUL in text, which names of emitted events may contain. This character has no meaning in Unicode.
_NUL = "\U0010ffff"


class _TextDumper(psycopg.types.string.StrDumper):
    """Text as PostgreSQL stores it."""

    def dump(self, obj: str) -> bytes:
        """`obj` in UTF-8; lone surrogates are escaped."""
        return obj.replace("\0", _NUL).encode("utf-8", "backslashreplace")


class _TextLoader(psycopg.adapt.Loader):
    """Text as it was before `_TextDumper`."""

    def load(self, data: psycopg.abc.Buffer) -> str:
        """The stored text."""
        text = str(data, "utf-8")
        return text.replace(_NUL, "\0") if _NUL in text else text


def _sqlstate(error: BaseException) -> str:
    """The five characters of the SQL standard; empty if the server has sent no error."""
    cause = getattr(error, "orig", None) or error
    return str(getattr(cause, "sqlstate", None) or "")


class _Deadlines:
    """Closes the sockets of transactions that take too long, so that their thread gets an error."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._watched: dict[int, tuple[float, psycopg.Connection[Any]]] = {}  # by id: deadline and connection
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    @contextlib.contextmanager
    def watching(self, connection: Any) -> Iterator[None]:
        """End the transaction of `connection` in the block if it takes longer than the deadline."""
        key = id(connection)
        with self._condition:
            self._watched[key] = (time.monotonic() + _DEADLINE_SECONDS, connection)
            if self._thread is None:
                self._is_stopped = False
                self._thread = threading.Thread(target=self._run, name="database deadlines", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._condition:
                self._watched.pop(key, None)

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()

    def _run(self) -> None:
        with self._condition:
            while not self._is_stopped:
                now = time.monotonic()
                for key, (deadline, connection) in list(self._watched.items()):
                    if deadline <= now:
                        del self._watched[key]
                        _shut_down(connection)
                # New transactions have later deadlines, so none of them needs to wake this thread.
                ends = [deadline for deadline, _ in self._watched.values()]
                self._condition.wait(max(0.1, min(ends, default=now + _DEADLINE_SECONDS) - now))
            self._thread = None


def _shut_down(connection: psycopg.Connection[Any]) -> None:
    log.warning("the database did not respond within %.0f s; the connection is closed", _DEADLINE_SECONDS)
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)
