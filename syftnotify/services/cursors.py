"""Cursors of pages: opaque to clients, and valid only for the list that returned them."""

from __future__ import annotations

from syftnotify.config.secrets import decrypt, encrypt
from syftnotify.core.errors import ConfigError
from syftnotify.system.paths import Home


def make_cursor(scope: str, position: str, home: Home) -> str:
    """The cursor of the page after `position`; `scope` identifies the list and its filters, without blanks."""
    return encrypt(f"{scope} {position}", home)


def read_cursor(cursor: str, scope: str, home: Home) -> str:
    """The position of a cursor.

    Raises:
        ConfigError: it is not a cursor of this list.
    """
    try:
        of, _, position = decrypt(cursor, home).partition(" ")
    except ValueError:
        of = position = ""
    if of != scope:
        raise ConfigError(
            "the cursor is not valid here", hint="pass the `cursor` of the page before, with the same filters"
        )
    return position
