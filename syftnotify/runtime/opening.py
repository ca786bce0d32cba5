"""Opening the outbox and the ledger of a home for commands, beside a worker that may be running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from syftnotify.core.outbox import OutboxStore
from syftnotify.services.doctor.access import StateAccess
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.state_file import find_corruption
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home


@contextmanager
def open_outbox(home: Home) -> Iterator[OutboxStore | None]:
    """The outbox of `home`; None before the first start.

    Raises:
        StateError: it cannot be used. A damaged one is not repaired.
    """
    if not home.outbox.exists():
        yield None
        return
    with closing(SqliteOutbox(home.outbox, repair=False)) as outbox:
        yield outbox


@contextmanager
def create_outbox(home: Home) -> Iterator[OutboxStore]:
    """The outbox of `home`, created if there is none.

    Raises:
        StateError: it cannot be used. A damaged one is not repaired.
    """
    home.create()
    with closing(SqliteOutbox(home.outbox, repair=False)) as outbox:
        yield outbox


def open_ledger(home: Home) -> Ledger:
    """The ledger of `home`; a damaged one is replaced by its backup."""
    return Ledger(home.state)


def read_ledger(home: Home) -> Ledger | None:
    """The ledger of `home`; None if it is damaged, because opening it would quarantine the file."""
    return None if find_corruption(home.state) else Ledger(home.state)


def state_access(home: Home) -> StateAccess:
    """The access of the checks of `notify doctor` to ledger and outbox."""
    return StateAccess(lambda: find_corruption(home.state), lambda: open_outbox(home))
