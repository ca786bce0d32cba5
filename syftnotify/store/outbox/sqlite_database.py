"""The SQLite database of the outbox: connections, transactions, upgrades and recovery from damage."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from syftnotify.core.errors import StateError
from syftnotify.core.text import plural
from syftnotify.store.outbox.backup import back_up
from syftnotify.store.outbox.schema import SCHEMA, SCHEMA_VERSION, UPGRADES
from syftnotify.system.files import quarantine
from syftnotify.system.permissions import owner_suffix

log = logging.getLogger(__name__)

_BUSY_SECONDS = 30.0
_ADD_COLUMN = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+) ")
# A read that returned less than expected: the file was truncated while it was open.
_SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
_CORRUPTION_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class SqliteDatabase:
    """One SQLite file. At most one thread writes at a time; with a write-ahead log, readers do not wait for it.

    Raises:
        StateError: (any method) the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, *, repair: bool = True) -> None:
        """`repair=False` leaves a damaged file in place: only the holder of the worker lock may move it."""
        self.path = path
        self.corruption = ""  # what was wrong with the file when it was opened; empty: nothing
        self._repairs = repair
        self._is_corrupt = False  # SQLite reported damage
        self._is_replaced = False  # it was replaced, and opening the new file has not succeeded yet
        # SQLite lets a second writer poll with growing pauses; this lock wakes it at once.
        self._write_lock = threading.Lock()
        self._local = threading.local()  # `connection`: the transaction of a batch in this thread
        try:
            self.open()
        except StateError:
            self.close()  # no caller gets this object to close it
            raise

    def open(self) -> None:
        """Open the file; with `repair`, a damaged one is moved away first, and a new one is created."""
        self._is_corrupt = False
        try:
            self._connect()
            found = self.check() if self._repairs else ""
        except StateError as error:
            if not self._is_corrupt:
                raise
            found = str(getattr(error.__cause__, "orig", error.__cause__))
            if not self._repairs:
                raise StateError(
                    f"{self.path} is damaged ({found})", hint="run `notify restart` to repair it"
                ) from error
        if found:
            self._quarantine(found)
            self._is_corrupt = False
            self._connect()

    def close(self) -> None:
        """Close all connections; one that is in use by another thread is closed at the end of its transaction."""
        self._is_closed = True
        self._engine.dispose()

    def reopen_if_replaced(self) -> bool:
        """Open the file again if it was removed, replaced or damaged while in use; returns whether it was."""
        try:
            is_same = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            is_same = False
        except OSError as error:
            raise StateError(f"{self.path} cannot be opened: {error.strerror}") from error
        if not self._is_replaced:
            if is_same and not self._is_corrupt:
                return False
            log.warning("%s was %s while it was in use", self.path, "damaged" if is_same else "removed")
        self._is_replaced = True  # also if it cannot be opened now: the next call must return True
        self.close()
        self.open()
        self._is_replaced = False
        return True

    def check(self) -> str:
        """What SQLite's quick check reports; empty: nothing."""
        with self.reading() as connection:  # it takes seconds for a large file, and must not block a worker
            found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        return "" if found == "ok" else found

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._transaction(reads=True) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that may write."""
        with self._transaction(reads=False) as connection:
            yield connection

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """All transactions of this thread in the block are one. Must not be nested."""
        with self.writing() as connection:
            self._local.connection = connection
            try:
                yield
            finally:
                del self._local.connection

    @contextlib.contextmanager
    def _transaction(self, *, reads: bool) -> Iterator[sa.Connection]:
        if hasattr(self._local, "connection"):
            yield self._local.connection
            return
        pool = self._engine.pool
        try:
            with (
                contextlib.nullcontext() if reads else self._write_lock,
                (self._reader if reads else self._engine).connect() as connection,
            ):
                try:
                    with connection.begin():
                        yield connection
                finally:
                    if self._is_closed or self._engine.pool is not pool:
                        connection.detach()  # a disposed pool would keep it open
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            code = getattr(cause, "sqlite_errorcode", 0)
            if code == _SHORT_READ or code & 0xFF in _CORRUPTION_CODES:
                self._is_corrupt = True
            raise StateError(
                f"{self.path} cannot be used: {cause}",
                hint="check the owner, permissions and free space of its folder",
            ) from error

    def _connect(self) -> None:
        self._is_closed = False
        self._engine = sa.create_engine(
            f"sqlite:///{self.path}",
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            pool_size=4,
            max_overflow=64,
            pool_reset_on_return="rollback",  # a failed commit leaves its transaction open
        )
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin)
        self._reader = self._engine.execution_options(reads=True)
        size = self.path.stat().st_size if self.path.exists() else None
        try:
            _create(self.path)
            self.path.chmod(0o600)
        except OSError as error:
            raise StateError(
                f"{self.path} cannot be opened: {error.strerror}{owner_suffix(self.path)}",
                hint="check the owner and permissions of its folder",
            ) from error
        self._upgrade(size)
        self._inode = self.path.stat().st_ino

    def _upgrade(self, size: int | None) -> None:
        """Create or upgrade the tables. `size` is that of the existing file in bytes; None: there was none."""
        with self.writing() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"{self.path} was written by a newer version "
                    f"(its format is {version}, this version supports {SCHEMA_VERSION})",
                    hint="install the newer version again",
                )
            if not version and size is not None and self._repairs:
                self.corruption = f"{self.path.name} was empty ({plural(size, 'byte')})"
                log.warning("%s; it is rebuilt from the state file and the tree", self.corruption)
            if 0 < version < SCHEMA_VERSION:
                copy = back_up(self.path, version)
                log.info("%s is upgraded to format %d; the old one is kept as %s", self.path, SCHEMA_VERSION, copy.name)
            if version < SCHEMA_VERSION:
                tables, indexes = _definitions()
                steps = [UPGRADES.get(step, ()) for step in range(version, SCHEMA_VERSION)] if version else []
                for statement in chain(tables, *steps, indexes):
                    if not _adds_existing_column(connection, statement):
                        connection.exec_driver_sql(statement)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _quarantine(self, reason: str) -> None:
        self.close()
        aside = quarantine(self.path)
        for end in ("-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        self.corruption = f"{self.path.name} was damaged ({reason}) and is kept as {aside.name}"
        log.warning("%s; it is rebuilt from the state file and the tree", self.corruption)


@cache
def _definitions() -> tuple[list[str], list[str]]:
    """The statements that create the tables and the indexes that do not exist."""
    dialect, tables = sqlite.dialect(), SCHEMA.sorted_tables
    indexes = [index for table in tables for index in sorted(table.indexes, key=lambda each: str(each.name))]
    return (
        [str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)) for table in tables],
        [str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)) for index in indexes],
    )


def _create(path: Path) -> None:
    """Create the file before SQLite does it: its write-ahead log gets the mode of the database file.

    An existing file is not opened here. Closing a descriptor of it would release the locks of all connections of this
    process (POSIX), and another process could take itself for the last user and delete the log that they write to.

    Raises:
        OSError: it cannot be created, read or written.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _adds_existing_column(connection: sa.Connection, statement: str) -> bool:
    """Whether a statement adds a column that exists, because the table was missing and was created with it."""
    found = _ADD_COLUMN.match(statement)
    if found is None:
        return False
    table, column = found.groups()
    rows = connection.exec_driver_sql(f"PRAGMA table_info({table})")
    return column in {row[1] for row in rows}


@contextlib.contextmanager
def text_as(connection: sa.Connection, factory: type[str] | type[bytes]) -> Iterator[None]:
    """Read text columns with `factory` in the block: `str` rejects text that is not UTF-8, `bytes` is the raw text.

    Only a claim rejects such text, because it would be sent; elsewhere invalid bytes are escaped.
    """
    driver = connection.connection.driver_connection
    assert driver is not None  # for mypy: the pool returns connected ones
    driver.text_factory = factory
    try:
        yield
    finally:
        driver.text_factory = _decode_leniently


def is_decoding_error(error: StateError) -> bool:
    """Whether SQLite met text that is not UTF-8."""
    return "Could not decode to UTF-8" in str(error.__cause__)


def _decode_leniently(raw: bytes) -> str:
    """Stored text; bytes that are not UTF-8 are escaped."""
    return raw.decode("utf-8", "backslashreplace")


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction. A writer takes the write lock now: one that asks for it after reading may fail at once."""
    reads = connection.get_execution_options().get("reads")
    with contextlib.closing(connection.connection.cursor()) as cursor:  # `exec_driver_sql` takes ten times as long
        cursor.execute("BEGIN" if reads else "BEGIN IMMEDIATE")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    """Configure a new connection, with a write-ahead log where the file system supports its shared memory."""
    connection.isolation_level = None  # the BEGIN is SQLAlchemy's, not the driver's
    connection.text_factory = _decode_leniently
    cursor = connection.cursor()
    try:
        mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        mode = ""
    if mode != "wal":
        cursor.execute("PRAGMA journal_mode = DELETE")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
