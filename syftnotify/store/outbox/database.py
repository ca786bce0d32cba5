"""The database of an outbox as its tables see it, whichever engine it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa


class Database(Protocol):
    """Transactions. Safe to use from several threads; each method raises `StateError` if the database fails."""

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that only reads."""

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that may write."""
