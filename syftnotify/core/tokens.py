"""Access tokens of the API: who they stand for and what they permit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What a token permits."""

    VIEWER = "viewer"  # the own inbox and the own jobs
    OPERATOR = "operator"  # everything
    SERVICE = "service"  # to create notifications and events, and nothing else


@dataclass(frozen=True, slots=True)
class Token:
    """A stored token; its secret is not stored."""

    id: str  # names it in lists and logs
    user: str  # address or another id of a person, in lower case
    role: Role
    created_at: float  # seconds since 1970
    expires_at: float | None = None  # None: never
    revoked_at: float | None = None

    def is_valid(self, now: float) -> bool:
        """Whether it may be used at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def token_hash(secret: str) -> str:
    """What is stored of a secret. A slow hash would only protect secrets that can be guessed; these have 256 bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class TokenStore(Protocol):
    """The tokens of a home."""

    def add(self, token: Token, secret_hash: str) -> None:
        """Store a new token."""

    def all(self) -> list[Token]:
        """All tokens, also expired and revoked ones, the oldest first."""

    def find(self, secret_hash: str) -> Token | None:
        """The token with this `token_hash`."""

    def revoke(self, token_id: str, now: float) -> bool:
        """Revoke a token; returns whether there was a valid one."""

    def cursor_key(self) -> str:
        """The key of the cursors of pages; empty: there is none yet."""

    def add_cursor_key(self, key: str) -> None:
        """Store the key of cursors, unless there is one."""
