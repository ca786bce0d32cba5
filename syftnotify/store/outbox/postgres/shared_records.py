"""What the workers of one home share in the database: the ledger of the leader, and what renders its messages."""

from __future__ import annotations

import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from syftnotify.store.outbox.postgres.database import PostgresDatabase
from syftnotify.store.outbox.postgres.schema import TABLES_SCHEMA

_LOAD_LEDGER = f"SELECT ledger FROM {TABLES_SCHEMA}.scopes WHERE scope = %(scope)s"
_SAVE_LEDGER = f"""
UPDATE {TABLES_SCHEMA}.scopes SET ledger = %(content)s WHERE scope = %(scope)s AND leader = %(worker)s RETURNING leader
"""
_PUBLISH = f"""
INSERT INTO {TABLES_SCHEMA}.scopes (scope, context, is_enabled) VALUES (%(scope)s, %(context)s, %(enabled)s)
ON CONFLICT (scope) DO UPDATE SET context = excluded.context, is_enabled = excluded.is_enabled
"""
_CONTEXT = f"SELECT context FROM {TABLES_SCHEMA}.scopes WHERE scope = %(scope)s"


class SharedRecords(ABC):
    """The part of `core.cluster.Cluster` that is about stored records."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    @property
    @abstractmethod
    def id(self) -> int:
        """The number of this worker; 0: it has not joined."""

    def load_ledger(self) -> bytes | None:
        with self._database.reading() as connection:
            stored = connection.exec_driver_sql(_LOAD_LEDGER, {"scope": self._database.scope}).scalar()
        return None if stored is None else zlib.decompress(stored)

    def save_ledger(self, content: bytes) -> bool:
        values = {
            "scope": self._database.scope,
            "worker": self.id,
            "content": zlib.compress(content, level=1),
        }
        with self._database.writing() as connection:
            return connection.exec_driver_sql(_SAVE_LEDGER, values).first() is not None

    def publish(self, context: Mapping[str, Any], *, is_enabled: bool = True) -> None:
        values = {"scope": self._database.scope, "context": json.dumps(dict(context)), "enabled": is_enabled}
        with self._database.writing() as connection:
            connection.exec_driver_sql(_PUBLISH, values)

    def context(self, scope: str) -> Mapping[str, Any] | None:
        with self._database.reading() as connection:
            stored = connection.exec_driver_sql(_CONTEXT, {"scope": scope}).scalar()
        found = json.loads(stored) if stored else None
        return found if isinstance(found, dict) else None
