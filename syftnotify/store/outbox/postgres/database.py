"""Connections and transactions of a PostgreSQL database."""

from __future__ import annotations

import contextlib
import logging
import re
import select
from collections.abc import Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

from syftnotify.core.errors import StateError
from syftnotify.store.outbox.postgres.schema import SCOPE_SETTING, VIEWS_SCHEMA

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60.0  # after which the server ends a statement
_LOCK_SECONDS = 20.0  # after which it ends a statement that waits for a lock
# A network that drops all packets: a read waits for ever, whatever the options of TCP say, because the statement was
# sent and acknowledged. So the connection is closed after this time.
_DEADLINE_SECONDS = STATEMENT_SECONDS + 30.0
# Connections are opened when they are needed. A new one costs the server as much as many messages, so those that
# several threads need at the same time are kept.
_POOL_SIZE, _POOL_OVERFLOW, _POOL_SECONDS = 10, 10, 20.0
# States after which the connection is closed: the server is a standby, shuts down, starts, or refuses.
_FATAL_STATES = frozenset({"25006", "55000", "57P01", "57P02", "57P03", "57P05", "08006"})
_IS_STANDBY = (
    "the server is a read-only standby; name the primary in `database`, or all servers and "
    "`target_session_attrs=read-write`"
)
# By the beginning of the state, as the SQL standard has it.
_HINTS = {
    "28": "check user and password in `database`; a stored secret is changed by `notify secret set`",
    "3D": "create the database, or correct its name in `database`",
    "42501": "grant the user of `database` the rights on its tables, or run `notify db migrate` as their owner",
    "42P01": "run `notify db migrate`; a user who is not the owner of the tables needs rights on both schemas, see "
    "docs/scaling.md",
    "57014": "the server ended a statement that took too long; run the command again, workers try it again",
    "53": "the server has no free disk, memory or connections; everything is kept and tried again",
    "25006": _IS_STANDBY,
    "55000": _IS_STANDBY,  # a function that asks for the position of the write-ahead log
}


_WRONG_PARAMETERS = "correct the parameters after `?` in `database`"
# libpq gives an error of the connection no state. Servers in other languages write other texts.
_TEXT_HINTS = {
    "password authentication failed": _HINTS["28"],
    "no password supplied": _HINTS["28"],
    '" does not exist': "create the database and its user, or correct their names in `database`",
    "no pg_hba.conf entry": "let the server accept this machine and user: pg_hba.conf",
    "permission denied for database": "as the owner of the database: GRANT CONNECT ON DATABASE NAME TO USER_NAME",
    "invalid connection option": _WRONG_PARAMETERS,
    "invalid sslmode value": _WRONG_PARAMETERS,
    "server does not support SSL": "remove `sslmode` from `database`, or set up TLS on the server",
}
# What psycopg and libpq repeat for each of several servers.
_ALL_FAILURES = "All failures were: "
_ONE_OF_SEVERAL = re.compile(r" ?- host: '[^']*', port: '[^']*', hostaddr: '[^']*': ")
_REPEATED = re.compile(r"connection failed: | Is the server running on that host and accepting TCP/IP connections\?")
_NO_CAUSE = "check that the server runs and can be reached; everything is kept"
_REFUSED = "the log of the server has more; everything is kept, and workers try again"


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
        self.discards_changes = discards_changes
        self._url = sa.make_url(url)
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
            hide_parameters=True,
        )
        sa.event.listen(self._engine, "do_connect", _connect)
        sa.event.listen(self._engine, "connect", self._configure)
        sa.event.listen(self._engine, "checkout", _require_open)
        sa.event.listen(self._engine, "begin", self._begin)

    @property
    def name(self) -> str:
        """The address of the database for people: without password and options, with all hosts."""
        hosts = self._url.query.get("host", ())
        query = {"host": hosts} if hosts and not self._url.host else {}
        return str(self._url.set(drivername="postgresql", password=None, query=query)).replace("%3A", ":")

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
        """A transaction for reading. The server does not enforce it, because that would cost a statement."""
        with self.writing() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that may write."""
        with self._errors(), self._engine.connect() as connection:
            try:
                with connection.begin() as transaction:
                    yield connection
                    if self.discards_changes:
                        transaction.rollback()
            except (sa.exc.DBAPIError, psycopg.Error) as error:
                if _sqlstate(error) in _FATAL_STATES:
                    connection.invalidate()
                raise

    @staticmethod
    def is_pooled(connection: sa.Connection) -> bool:
        """Whether a pooler is between `connection` and the server."""
        return bool(connection.connection.info.get("is_pooled"))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the driver as `StateError`."""
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
            cause = getattr(error, "orig", None) or error
            state = _sqlstate(error)
            found = (hint for prefix, hint in _HINTS.items() if state.startswith(prefix))
            text = _shorten(str(cause)) or type(cause).__name__
            default = _REFUSED if state else _NO_CAUSE
            hint = next(found, None) or next((hint for part, hint in _TEXT_HINTS.items() if part in text), default)
            raise StateError(f"{self.name} cannot be used: {text}", hint=hint) from error

    def close(self) -> None:
        """Close all connections; one that is in use by another thread is closed at the end of its transaction."""
        self._engine.dispose()

    def _configure(self, connection: Any, record: Any) -> None:
        """Prepare a new connection."""
        driver = connection.driver_connection if hasattr(connection, "driver_connection") else connection
        # Claims see what others commit meanwhile, whatever the default of the database is.
        driver.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        driver.adapters.register_dumper(str, _BinaryTextDumper)
        driver.adapters.register_dumper(str, _TextDumper)  # the last one is that of parameters without a format
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


# Without JIT: because of a wrong estimate the server would compile statements that take a millisecond.
_SETTINGS = f"""
SELECT set_config('jit', 'off', %(local)s),
    set_config('search_path', '{VIEWS_SCHEMA}', %(local)s),
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


class _BinaryTextDumper(psycopg.types.string.StrBinaryDumper):
    """As `_TextDumper`, for parameters in binary format."""

    dump = _TextDumper.dump


class _TextLoader(psycopg.adapt.Loader):
    """Text as it was before `_TextDumper`."""

    def load(self, data: psycopg.abc.Buffer) -> str:
        """The stored text."""
        text = str(data, "utf-8")
        return text.replace(_NUL, "\0") if _NUL in text else text


def _shorten(text: str) -> str:
    """An error of the driver on one line; of several servers, the error of each."""
    line = " ".join(text.split())
    line = line.partition(_ALL_FAILURES)[2] or line
    return _REPEATED.sub("", _ONE_OF_SEVERAL.sub("; ", line)).removeprefix("; ")


def _sqlstate(error: BaseException) -> str:
    """The five characters of the SQL standard; empty if the server has sent no error."""
    cause = getattr(error, "orig", None) or error
    return str(getattr(cause, "sqlstate", None) or "")


def _require_open(connection: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool replace a connection that the server has closed meanwhile.

    Only then, or after a notice of the server, there is something to read from it, and a statement is sent.
    SQLAlchemy's `pool_pre_ping` sends one before every transaction, which takes as long as a short transaction.

    Raises:
        sqlalchemy.exc.DisconnectionError: it is closed.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):
            connection.execute("SELECT 1")
            connection.rollback()
    except psycopg.Error as error:
        raise sa.exc.DisconnectionError from error


class _Connection(psycopg.Connection[Any]):
    """A connection of which every statement has a deadline, also those that the pool executes."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the response of the server. Raises: psycopg.OperationalError, there was none."""
        if timeout is not None:  # a wait for notifications
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, _DEADLINE_SECONDS)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - psycopg has no public name for it
            self.close()
            raise psycopg.OperationalError(f"no response within {_DEADLINE_SECONDS:.0f} s") from error


def _connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> psycopg.Connection[Any]:
    return _Connection.connect(*arguments, **options)
