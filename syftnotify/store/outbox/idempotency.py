"""The idempotency keys of requests that create something."""

from __future__ import annotations

import sqlalchemy as sa

from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.schema import IDEMPOTENCY_KEYS as KEYS

_KEPT_SECONDS = 86_400.0  # a client repeats a request within a day


class IdempotencyKeys:
    """Implements `core.outbox.IdempotencyKeys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, token_id: str, key: str, request_hash: str, now: float) -> bool | None:
        row = {"token": token_id, "key": key, "request_hash": request_hash, "created_at": now}
        query = sa.select(KEYS.c.request_hash).where(KEYS.c.token == token_id, KEYS.c.key == key)
        with self._database.writing() as connection:
            connection.execute(KEYS.delete().where(KEYS.c.created_at < now - _KEPT_SECONDS))
            found = None
            while found is None:  # another server may release the key between the two statements
                is_new = connection.execute(insert_new(KEYS), row).rowcount == 1
                found = connection.execute(query).scalar()
        return is_new if found == request_hash else None

    def release(self, token_id: str, key: str) -> None:
        with self._database.writing() as connection:
            connection.execute(KEYS.delete().where(KEYS.c.token == token_id, KEYS.c.key == key))
