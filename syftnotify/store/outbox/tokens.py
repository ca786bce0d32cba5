"""The tokens of the API."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from syftnotify.core.tokens import Role, Token
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.schema import TOKENS

_ALL = sa.select(TOKENS).order_by(TOKENS.c.created_at, TOKENS.c.id)


class TokenStore:
    """Implements `core.tokens.TokenStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: Token, secret_hash: str) -> None:
        row = {
            "id": token.id,
            "hash": secret_hash,
            "person": token.user,
            "role": token.role.value,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
        }
        with self._database.writing() as connection:
            connection.execute(TOKENS.insert(), row)

    def all(self) -> list[Token]:
        with self._database.reading() as connection:
            return [_token(row) for row in connection.execute(_ALL)]

    def find(self, secret_hash: str) -> Token | None:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(TOKENS).where(TOKENS.c.hash == secret_hash)).first()
        return None if row is None else _token(row)

    def revoke(self, token_id: str, now: float) -> bool:
        is_valid = sa.and_(TOKENS.c.id == token_id, TOKENS.c.revoked_at.is_(None))
        with self._database.writing() as connection:
            return bool(connection.execute(TOKENS.update().where(is_valid).values(revoked_at=now)).rowcount)


def _token(row: Any) -> Token:
    return Token(row.id, row.person, Role(row.role), row.created_at, row.expires_at, row.revoked_at)
