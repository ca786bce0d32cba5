"""The database that several workers share: its state, its tables, and the copy of a file into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syftnotify.core.cluster import DatabaseFacts, WorkerRecord
from syftnotify.core.errors import ConfigError, NoTablesError, NotifyError
from syftnotify.runtime.opening import check_packages, connect_outbox
from syftnotify.services.settings import load
from syftnotify.services.transports import published_context
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock
from syftnotify.system.paths import Home

if TYPE_CHECKING:
    from syftnotify.config.load import Settings
    from syftnotify.store.outbox.postgres.copying import CopiedTable


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """A database and the workers that use it."""

    facts: DatabaseFacts
    workers: Sequence[WorkerRecord]


def database_status(home: Home) -> DatabaseStatus:
    """The state of the database of `home`; nothing is created.

    Raises:
        ConfigError: none is configured, or the configuration is wrong.
        StateError: it cannot be used.
    """
    settings, url = _configured(home)
    from syftnotify.store.outbox.postgres.inspection import inspect

    facts = inspect(url)
    try:
        with closing(connect_outbox(settings, creates=False)) as outbox:
            workers = outbox.cluster.workers() if outbox.cluster is not None else []
    except NoTablesError:
        workers = []
    return DatabaseStatus(facts, workers)


def migrate_database(home: Home) -> DatabaseFacts:
    """Create or upgrade the tables; returns the state before.

    Raises:
        ConfigError: no database is configured, or the configuration is wrong.
        StateError: it cannot be used; nothing was changed.
    """
    settings, url = _configured(home)
    from syftnotify.store.outbox.postgres.database import PostgresDatabase
    from syftnotify.store.outbox.postgres.inspection import inspect
    from syftnotify.store.outbox.postgres.migration import migrate, prepare

    before = inspect(url)
    with closing(PostgresDatabase(url, settings.config.scope)) as database:
        migrate(database)
        prepare(database)  # tables of a newer version may be unusable
    return before


def copy_outbox(home: Home, on_progress: Callable[[str, int, int], None]) -> list[CopiedTable]:
    """Copy `outbox.db` of `home` into its database, and compare the two; empty if that was done before.

    `on_progress` is called with the name of a table, the number of its rows that are copied, and of all.

    Raises:
        ConfigError: no database is configured, or the configuration is wrong.
        AlreadyRunningError: the worker of this home runs.
        NotifyError: there is no file.
        StateError: one of the two cannot be used, or they differ; see `OutboxCopy.run`.
    """
    settings, url = _configured(home)
    from syftnotify.store.outbox.postgres.copying import OutboxCopy, mark_copied
    from syftnotify.store.outbox.postgres.database import PostgresDatabase
    from syftnotify.store.outbox.postgres.migration import prepare

    with worker_lock.acquire(home):
        if not home.outbox.exists():
            raise NotifyError(f"there is no {home.outbox}", hint="nothing needs to be copied; run `notify start`")
        with closing(SqliteOutbox(home.outbox)) as file:  # upgrades it
            file.queue.recover(time.time())
        with closing(PostgresDatabase(url, settings.config.scope)) as database:
            prepare(database)
            copy = OutboxCopy(home.outbox, database)
            copy.begin()
            with closing(connect_outbox(settings)) as outbox:
                assert outbox.cluster is not None  # for mypy: it is in a database
                # Whoever delivers what is copied needs it.
                outbox.cluster.publish(published_context(settings), is_enabled=settings.config.notify.enabled)
            found = copy.run(on_progress)
            mark_copied(home.outbox, database.name)
            return found


def _configured(home: Home) -> tuple[Settings, str]:
    settings = load(home)
    if settings.config.database is None:
        raise ConfigError(
            "no database is configured: the outbox is the file outbox.db",
            hint=f"set `database` in {home.config} to share it among several workers",
        )
    check_packages()
    return settings, settings.config.database.get_secret_value()
