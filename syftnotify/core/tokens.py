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
    # Of a session of the page: the id of the token with which it began, empty for one that began otherwise. None: it is
    # a token of the API.
    session_of: str | None = None

    @property
    def is_session(self) -> bool:
        """Whether it stands for a session of the page, and not for a program."""
        return self.session_of is not None

    def is_valid(self, now: float) -> bool:
        """Whether it may be used at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A mailed link by which a person signs in to the page, once, in the browser that asked for it."""

    hash: str  # `token_hash` of its secret
    user: str
    browser_hash: str  # `token_hash` of a cookie
    created_at: float  # seconds since 1970
    expires_at: float


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

    def get(self, token_id: str) -> Token | None:
        """The token with this id."""

    def of_user(self, user: str) -> list[Token]:
        """The tokens of a person without sessions, also expired and revoked ones."""

    def revoke(self, token_id: str, now: float) -> bool:
        """Revoke a token; returns whether there was a valid one."""

    def delete_sessions(self, ended_before: float) -> None:
        """Delete the sessions that have expired or were revoked before a moment."""

    def add_link(self, link: SignInLink, *, of_person: int, of_all: int) -> bool:
        """Store a link, and delete those that have expired before it was created.

        Returns:
            Whether it is stored: not if there are `of_person` links of its person, or `of_all` of all persons.
        """

    def use_link(self, link_hash: str, browser_hash: str, now: float) -> str:
        """The person of a link that is valid at `now` in this browser, and can be used no more; empty: it is not."""

    def cursor_key(self) -> str:
        """The key of the cursors of pages; empty: there is none yet."""

    def add_cursor_key(self, key: str) -> None:
        """Store the key of cursors, unless there is one."""
