"""Two or more workers on one PostgreSQL database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syftnotify.store.outbox.postgres.lease import Lease
from syftnotify.store.outbox.postgres.store import PostgresOutbox
from syftnotify.system.paths import Home
from tests import postgres
from tests.support import OWNER

_NUMBERS = itertools.count()
# Short enough that a test can wait for its end.
SHORT_LEASE = Lease(seconds=2.0, renewal=0.2, patience=0.5)

OpenWorker = Callable[..., PostgresOutbox]  # takes the scope; each call is another worker


@pytest.fixture
def server() -> postgres.Server:
    """A PostgreSQL server of the oldest version that is installed."""
    return postgres.shared_server(min(postgres.installations(), key=int, default="15"))


@pytest.fixture
def database_url(server: postgres.Server) -> str:
    """The address of an empty database."""
    return server.create_database(f"test_{next(_NUMBERS)}")


@pytest.fixture
def open_worker(database_url: str, tmp_path: Path) -> Iterator[OpenWorker]:
    """A function that opens the outbox as another worker does; all are closed afterwards."""
    opened: list[PostgresOutbox] = []

    def open_one(scope: str = OWNER, *, lease: Lease = SHORT_LEASE) -> PostgresOutbox:
        opened.append(PostgresOutbox(database_url, scope, Home(tmp_path), lease=lease))
        return opened[-1]

    yield open_one
    for outbox in opened:
        outbox.close()
