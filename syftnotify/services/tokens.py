"""Access tokens of the API: create, list, revoke, and check."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass

from syftnotify.config.values import parse_duration
from syftnotify.core.errors import ConfigError
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import escape, listed, local_time
from syftnotify.core.tokens import Role, Token, token_hash
from syftnotify.services.arguments import UsageError, by_id_prefix, parse_time

_PREFIX = "syn_"  # lets secret scanners recognize a token
_SECRET_BYTES = 32
_ID_BYTES = 6
_USER = re.compile(r"[!-~]{1,254}")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its secret, which cannot be shown again."""

    token: Token
    secret: str


def parse_role(text: str) -> Role:
    """The role with this name. Raises: ConfigError, there is none."""
    try:
        return Role(text.strip().lower())
    except ValueError:
        raise ConfigError(f"{escape(text, limit=60)!r} is not a role", hint=f"use {listed(list(Role), 'or')}") from None


def parse_expiry(text: str | None) -> float | None:
    """When a token expires, in seconds since 1970, for `90d` or a future time; None for None.

    Raises:
        UsageError: `text` is neither.
    """
    if text is None:
        return None
    now = time.time()
    try:
        return now + parse_duration(text)
    except ValueError:
        expires_at = parse_time(text)
    if expires_at <= now:
        raise UsageError(f"--expires: {local_time(expires_at)} is in the past", hint="pass 90d, 26w or a future date")
    return expires_at


def create_token(outbox: OutboxStore, user: str, role: Role, *, expires_at: float | None = None) -> NewToken:
    """Create a token for `user`, an address or another id; `expires_at` is in seconds since 1970, None for never.

    Raises:
        ConfigError: `user` cannot be the id of a person.
    """
    name = checked_user(user)
    now = time.time()
    token = Token(secrets.token_hex(_ID_BYTES), name, role, now, expires_at)
    secret = f"{_PREFIX}{secrets.token_urlsafe(_SECRET_BYTES)}"
    outbox.tokens.add(token, token_hash(secret))
    return NewToken(token, secret)


def checked_user(user: str) -> str:
    """The id of a person in lower case.

    Raises:
        ConfigError: it is empty, too long, or has characters other than visible ones of ASCII, as addresses have.
    """
    name = user.strip().lower()
    if not _USER.fullmatch(name):
        raise ConfigError(f"{escape(user, limit=60)!r} cannot be a user", hint="pass a mail address")
    return name


def revoke_token(outbox: OutboxStore | None, id_prefix: str) -> Token:
    """Revoke the token whose id begins with `id_prefix`; returns it. Without an outbox there is none.

    Raises:
        NotifyError: there is none, or several.
    """
    tokens = outbox.tokens.all() if outbox is not None else []
    token = by_id_prefix(tokens, id_prefix, noun="token", command="notify token list")
    if outbox is not None:
        outbox.tokens.revoke(token.id, time.time())
    return token


def find_token(outbox: OutboxStore, secret: str) -> Token | None:
    """The valid token with this secret; None if there is none."""
    token = outbox.tokens.find(token_hash(secret)) if secret.startswith(_PREFIX) else None
    is_usable = token is not None and not token.is_session and token.is_valid(time.time())
    return token if is_usable else None
