"""The tokens of the API."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa

from syftnotify.core.text import escape
from syftnotify.core.tokens import Role, SignInLink, Token
from syftnotify.store.outbox.database import Database
from syftnotify.store.outbox.inserts import insert_new
from syftnotify.store.outbox.schema import SERVER_KEYS, SIGN_IN_LINKS, TOKENS

log = logging.getLogger(__name__)

_CURSORS = "cursors"
_CURSOR_KEY = sa.select(SERVER_KEYS.c.value).where(SERVER_KEYS.c.name == _CURSORS)
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
            "session_of": token.session_of,
        }
        with self._database.writing() as connection:
            connection.execute(TOKENS.insert(), row)

    def all(self) -> list[Token]:
        with self._database.reading() as connection:
            return [token for row in connection.execute(_ALL) if (token := _token(row)) is not None]

    def find(self, secret_hash: str) -> Token | None:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(TOKENS).where(TOKENS.c.hash == secret_hash)).first()
        return None if row is None else _token(row)

    def get(self, token_id: str) -> Token | None:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(TOKENS).where(TOKENS.c.id == token_id)).first()
        return None if row is None else _token(row)

    def of_user(self, user: str) -> list[Token]:
        query = _ALL.where(TOKENS.c.person == user, TOKENS.c.session_of.is_(None))
        with self._database.reading() as connection:
            return [token for row in connection.execute(query) if (token := _token(row)) is not None]

    def revoke(self, token_id: str, now: float) -> bool:
        is_valid = sa.and_(TOKENS.c.id == token_id, TOKENS.c.revoked_at.is_(None))
        with self._database.writing() as connection:
            return bool(connection.execute(TOKENS.update().where(is_valid).values(revoked_at=now)).rowcount)

    def delete_sessions(self, ended_before: float) -> None:
        has_ended = sa.or_(TOKENS.c.expires_at < ended_before, TOKENS.c.revoked_at < ended_before)
        with self._database.writing() as connection:
            connection.execute(TOKENS.delete().where(TOKENS.c.session_of.is_not(None), has_ended))

    def add_link(self, link: SignInLink, *, of_person: int, of_all: int) -> bool:
        row = {
            "hash": link.hash,
            "person": link.user,
            "browser": link.browser_hash,
            "created_at": link.created_at,
            "expires_at": link.expires_at,
        }
        with self._database.writing() as connection:
            connection.execute(SIGN_IN_LINKS.delete().where(SIGN_IN_LINKS.c.expires_at < link.created_at))
            people = list(connection.execute(sa.select(SIGN_IN_LINKS.c.person)).scalars())
            if len(people) >= of_all or people.count(link.user) >= of_person:
                return False
            connection.execute(SIGN_IN_LINKS.insert(), row)
        return True

    def use_link(self, link_hash: str, browser_hash: str, now: float) -> str:
        is_valid = sa.and_(
            SIGN_IN_LINKS.c.hash == link_hash,
            SIGN_IN_LINKS.c.browser == browser_hash,
            SIGN_IN_LINKS.c.expires_at > now,
            SIGN_IN_LINKS.c.used_at.is_(None),
        )
        with self._database.writing() as connection:
            # One statement: of two servers, only one may use it.
            used = SIGN_IN_LINKS.update().where(is_valid).values(used_at=now).returning(SIGN_IN_LINKS.c.person)
            return str(connection.execute(used).scalar() or "")

    def cursor_key(self) -> str:
        with self._database.reading() as connection:
            return connection.execute(_CURSOR_KEY).scalar() or ""

    def add_cursor_key(self, key: str) -> None:
        with self._database.writing() as connection:
            connection.execute(insert_new(SERVER_KEYS), {"name": _CURSORS, "value": key})


def _token(row: Any) -> Token | None:
    """The token of a row; None, with a log entry, if its role is not known: it may be one of a newer version."""
    try:
        return Token(row.id, row.person, Role(row.role), row.created_at, row.expires_at, row.revoked_at, row.session_of)
    except ValueError:
        log.warning("token %s has an unknown role and permits nothing", escape(str(row.id)))
        return None
