"""Opening the outbox and the ledger of a home."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing, contextmanager

from syftnotify.config.load import Settings
from syftnotify.core.cluster import DatabaseFacts
from syftnotify.core.errors import ConfigError, NoTablesError, NotifyError
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import plural
from syftnotify.services.doctor.access import StateAccess
from syftnotify.services.settings import shared_database
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.state_file import find_corruption
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home


def connect_outbox(settings: Settings, *, creates: bool = True, discards_changes: bool = False) -> OutboxStore:
    """The outbox of a worker with these settings. The caller closes it.

    `creates` it if there is none. `discards_changes`: nothing is stored in a PostgreSQL database; of a file, a dry run
    uses a copy.

    Raises:
        StateError: it cannot be used. A damaged file is moved away and replaced.
        NotifyError: the packages for PostgreSQL are not installed.
    """
    database = settings.config.database
    if database is None:
        outbox = SqliteOutbox(settings.home.outbox)
        outbox.forget_copy()
        return outbox
    check_packages()
    from syftnotify.store.outbox.postgres.store import PostgresOutbox

    return PostgresOutbox(
        database.get_secret_value(),
        settings.config.scope,
        settings.home,
        creates=creates,
        discards_changes=discards_changes,
    )


def shared_ledger(settings: Settings) -> bytes | None:
    """The ledger that the last leader has saved in the database; None: there is none.

    Raises:
        StateError: the database cannot be used.
        NotifyError: the packages for PostgreSQL are not installed.
    """
    if settings.config.database is None:
        return None
    try:
        with closing(connect_outbox(settings, creates=False)) as outbox:
            return None if outbox.cluster is None else outbox.cluster.leader.load_ledger()
    except NoTablesError:
        return None


def require_copied(settings: Settings) -> None:
    """Make sure that a home with a database has no `outbox.db` that was not copied: its history would be missing.

    Raises:
        ConfigError: it has one.
        StateError: the file or the database cannot be used, or another file is being copied into this home.
        NotifyError: the packages for PostgreSQL are not installed.
    """
    if settings.config.database is None:
        return
    check_packages()
    from syftnotify.store.outbox.postgres.copies import require_complete
    from syftnotify.store.outbox.postgres.copying import OutboxCopy, mark_copied, uncopied_events
    from syftnotify.store.outbox.postgres.database import PostgresDatabase
    from syftnotify.store.outbox.postgres.migration import schema_status

    file = settings.home.outbox
    with closing(PostgresDatabase(settings.config.database.get_secret_value(), settings.config.scope)) as database:
        has_tables = schema_status(database).version > 0
        count = uncopied_events(file, database.name)
        # The same database may have another address than at the time of the copy.
        if count and has_tables and OutboxCopy(file, database).is_verified():
            mark_copied(file, database.name)
            count = 0
        if not count:
            if has_tables:
                with database.reading() as connection:
                    require_complete(connection, database)
            return
    raise ConfigError(
        f"{file} has {plural(count, 'event that was', 'events that were')} not copied into {database.name}",
        hint=f"run `notify stop` and `notify db copy`; to start without them, rename {file.name}",
    )


def check_packages() -> None:
    """Raises: NotifyError, the packages for PostgreSQL are not installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise NotifyError("`database` needs more packages", hint="run `pip install 'syftnotify[postgres]'`")


@contextmanager
def open_outbox(home: Home) -> Iterator[OutboxStore | None]:
    """The outbox of `home`, for commands, beside a worker that may be running; None before the first start.

    Raises:
        StateError: it cannot be used. A damaged one is not repaired.
        ConfigError: `database` is set, and the configuration is wrong.
    """
    settings = shared_database(home)
    if settings is not None:
        try:
            shared = connect_outbox(settings, creates=False)
        except NoTablesError:
            yield None
            return
        with closing(shared):
            yield shared
    elif not home.outbox.exists():
        yield None
    else:
        with closing(SqliteOutbox(home.outbox, repair=False)) as outbox:
            yield outbox


@contextmanager
def create_outbox(home: Home) -> Iterator[OutboxStore]:
    """As `open_outbox`, but the outbox is created if there is none. Raises also what `require_copied` raises."""
    home.create()
    settings = shared_database(home)
    if settings is not None:
        require_copied(settings)  # what is stored in the database before the copy would prevent it
    store = SqliteOutbox(home.outbox, repair=False) if settings is None else connect_outbox(settings)
    with closing(store) as outbox:
        yield outbox


def open_ledger(home: Home) -> Ledger:
    """The ledger of `home`; a damaged one is replaced by its backup."""
    return Ledger(home.state)


def read_ledger(home: Home) -> Ledger | None:
    """The ledger of `home`; None if it is damaged, because opening it would quarantine the file."""
    return None if find_corruption(home.state) else Ledger(home.state)


def state_access(home: Home) -> StateAccess:
    """The access of the checks of `notify doctor` to ledger and outbox."""
    return StateAccess(
        lambda: find_corruption(home.state),
        lambda: _facts(home),
        lambda: _require_copied(home),
        lambda: open_outbox(home),
    )


def _require_copied(home: Home) -> None:
    settings = shared_database(home)
    if settings is not None:
        require_copied(settings)


def _facts(home: Home) -> DatabaseFacts | None:
    settings = shared_database(home)
    if settings is None or settings.config.database is None:
        return None
    check_packages()
    from syftnotify.store.outbox.postgres.inspection import inspect

    return inspect(settings.config.database.get_secret_value())
