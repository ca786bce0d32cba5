"""Entity ids, recipient addresses and stable hashes."""

from __future__ import annotations

import base64
import hashlib
import re
from enum import StrEnum
from urllib.parse import quote

_PLAIN = re.compile(r"[A-Za-z0-9_.~@-]+")


def _encode(part: str) -> str:
    # Most parts need no encoding; the check takes a fifth of the time of `quote`.
    return part if _PLAIN.fullmatch(part) else quote(part.encode("utf-8", "surrogateescape"), safe="@")


def entity_id(*parts: str) -> str:
    """Join `parts` to an id such as `job/<layout>/<owner>/<submitter>/<name>`.

    All characters but letters, digits and `_.~-@` are percent-encoded. File names that are not UTF-8 (surrogates) keep
    their bytes.
    """
    return "/".join(map(_encode, parts))


_URL_PREFIX = "job_"


def url_id(entity: str) -> str:
    """The id of an entity in URLs, where its slashes would be parts of the path."""
    content = entity.encode("utf-8", "surrogateescape")
    return _URL_PREFIX + base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")


def entity_of_url_id(text: str) -> str:
    """The entity that an id of `url_id` stands for; any other text is the name of a job, or a pattern, unchanged."""
    encoded = text.removeprefix(_URL_PREFIX)
    if encoded == text:
        return text
    try:
        content = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        entity = content.decode("utf-8")
    except ValueError:
        return text
    return entity if entity and url_id(entity) == text else text


_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
ADDRESS_PATTERN = f"^{_ADDRESS.pattern}$"  # of the addresses for which `is_address` is true, for descriptions


def is_address(text: str) -> bool:
    """Whether `text` is one bare mail address that can be used in a header unchanged.

    Narrower than RFC 5322, because addresses come from untrusted sources: no quoting, comments or encoded words, and
    ASCII only.
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
    """A stable name for `parts`: the first 32 hexadecimal digits of their SHA-256."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:32]
