"""The stores that the contract of `OutboxStore` is tested against. Another store is another entry of `STORES`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from syftnotify.core.outbox import OutboxStore
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home
from tests import postgres

OpenOutbox = Callable[[], OutboxStore]  # each call opens the same data, as another process would
_NUMBERS = itertools.count()


@contextmanager
def _opened(open_one: Callable[[], OutboxStore]) -> Iterator[OpenOutbox]:
    opened: list[OutboxStore] = []

    def open_outbox() -> OutboxStore:
        opened.append(open_one())
        return opened[-1]

    try:
        yield open_outbox
    finally:
        for outbox in opened:
            outbox.close()


def sqlite(folder: Path) -> AbstractContextManager[OpenOutbox]:
    """One database file in `folder`."""
    return _opened(lambda: SqliteOutbox(folder / "outbox.db"))


@contextmanager
def _postgres(folder: Path, version: str) -> Iterator[OpenOutbox]:
    """A database of its own."""
    server = postgres.shared_server(version)
    url = server.create_database(f"contract_{next(_NUMBERS)}")
    with _opened(lambda: PostgresOutbox(url, "owner@datasite.example", Home(folder))) as open_outbox:
        yield open_outbox


# By name: a context with an empty store, closed and removed at its end. The argument is an empty folder.
STORES: dict[str, Callable[[Path], AbstractContextManager[OpenOutbox]]] = {
    "sqlite": sqlite,
    "postgres-15": lambda folder: _postgres(folder, "15"),
    "postgres-18": lambda folder: _postgres(folder, "18"),
}


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """The marks of the tests of a store: of the versions of PostgreSQL, `make test` runs one."""
    return [pytest.mark.thorough] if name == "postgres-18" else []
