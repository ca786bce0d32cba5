"""Cursors of pages: opaque to clients, and valid only for the list that returned them."""

from __future__ import annotations

from syftnotify.core.errors import ConfigError, StateError
from syftnotify.core.outbox import OutboxStore


def prepare_cursors(outbox: OutboxStore) -> None:
    """Store a key for cursors if there is none. The servers of one database share it. Raises: StateError."""
    from cryptography.fernet import Fernet

    if not outbox.tokens.cursor_key():
        outbox.tokens.add_cursor_key(Fernet.generate_key().decode("ascii"))


def make_cursor(scope: str, position: str, outbox: OutboxStore) -> str:
    """The cursor of the page after `position`; `scope` identifies the list and its filters, without blanks.

    Raises:
        StateError: there is no key yet; requests for pages do not make one.
    """
    from cryptography.fernet import Fernet

    return Fernet(_key(outbox)).encrypt(f"{scope} {position}".encode()).decode("ascii")


def read_cursor(cursor: str, scope: str, outbox: OutboxStore) -> str:
    """The position of a cursor.

    Raises:
        ConfigError: it is not a cursor of this list.
        StateError: there is no key.
    """
    from cryptography.fernet import Fernet, InvalidToken

    try:
        of, _, position = Fernet(_key(outbox)).decrypt(cursor.encode()).decode().partition(" ")
    except (InvalidToken, ValueError):
        of = position = ""
    if of != scope:
        raise ConfigError(
            "the cursor is not valid here", hint="pass the `cursor` of the page before, with the same filters"
        )
    return position


def _key(outbox: OutboxStore) -> bytes:
    key = outbox.tokens.cursor_key()
    if not key:
        raise StateError("the database has no key for cursors")
    return key.encode("ascii")
