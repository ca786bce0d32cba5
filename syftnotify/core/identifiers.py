"""Entity ids, recipient addresses and stable hashes."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from urllib.parse import quote

_PLAIN = re.compile(r"[A-Za-z0-9_.~@-]+")


def _encoded(part: str) -> str:
    # Mostly there is nothing to encode, which is seen five times as quickly.
    return part if _PLAIN.fullmatch(part) else quote(part.encode("utf-8", "surrogateescape"), safe="@")


def entity_id(*parts: str) -> str:
    """`job/<layout>/<owner>/<submitter>/<name>`: every part percent-encoded except `@`, so `/` only separates.

    File names that are not UTF-8 keep their bytes (they arrive as surrogates).
    """
    return "/".join(map(_encoded, parts))


_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def is_address(text: str) -> bool:
    """Whether `text` is one bare mail address that can stand in a header as it is.

    Narrower than RFC 5322 on purpose (no quoting, no comments, no encoded words, ASCII only): it comes from hostile
    places.
    """
    return len(text) <= 254 and "=?" not in text and _ADDRESS.fullmatch(text) is not None


# Hosts that are this machine: connections to them need no encryption.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class AddressType(StrEnum):
    """What a recipient looks like, which decides about its transport.

    The values are stored, as media of recipients without a transport.
    """

    MAIL = "mail"  # a mail address
    CHANNEL = "slack"  # `#channel` or `@user` of a chat
    ENDPOINT = "webhook"  # the name of a transport with a fixed destination


def address_type_of(recipient: str) -> AddressType:
    """The type of the address `recipient`, which is not a role."""
    if recipient[:1] in {"#", "@"}:
        return AddressType.CHANNEL
    return AddressType.MAIL if is_address(recipient) else AddressType.ENDPOINT


def stable_hash(*parts: str) -> str:
    """A short stable name for `parts`: 32 hexadecimal digits."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:32]
