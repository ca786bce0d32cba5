"""The stores that the contract of `OutboxStore` is tested against. Another store is another entry of `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from syftnotify.core.outbox import OutboxStore
from syftnotify.store.outbox.store import SqliteOutbox

OpenOutbox = Callable[[], OutboxStore]  # each call opens the same data, as another process would


@contextmanager
def sqlite(folder: Path) -> Iterator[OpenOutbox]:
    """One database file in `folder`."""
    opened: list[SqliteOutbox] = []

    def open_outbox() -> OutboxStore:
        opened.append(SqliteOutbox(folder / "outbox.db"))
        return opened[-1]

    try:
        yield open_outbox
    finally:
        for outbox in opened:
            outbox.close()


# By name: a context with an empty store, closed and removed at its end. The argument is an empty folder.
STORES: dict[str, Callable[[Path], AbstractContextManager[OpenOutbox]]] = {"sqlite": sqlite}
