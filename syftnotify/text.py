"""How is text from outside made harmless? Shown, never obeyed: no control character survives."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

# Categories that a terminal, a mail program or a reader's eye may obey: controls, formats (among them the
# bidirectional overrides), surrogates, private use, unassigned, line and paragraph separators.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Joiners are formats too, but harmless, and emoji and several scripts need them.
_HARMLESS = frozenset("\u200c\u200d")
_SHORTEST_SECRET = 4


def shown(text: str, *, limit: int = 300) -> str:
    """`text` on one line, with what could be obeyed written as an escape, cut to `limit` characters."""
    cut = text[:limit]
    if not cut.isascii() or not cut.isprintable():
        cut = cut.translate(_Escapes())
    return cut + "…" if len(text) > limit else cut


def shown_block(text: str) -> str:
    """Like `shown` for text of many lines: line ends and tabs stay, nothing is cut."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_Escapes({10: "\n", 9: "\t"}))


def decoded(content: bytes) -> str:
    """The text of a file that people edit or download: UTF-8, with or without a byte order mark.

    Raises:
        ValueError: it is in another encoding. The message repeats nothing of the content.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise ValueError("UTF-16 or UTF-32 text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text; save it as UTF-8") from None


def host_of(url: str) -> str:
    """The part of an address that may be shown: the path of a webhook is often its password."""
    return urlsplit(url).hostname or "the address"


def iso(seconds: float, *, exact: bool = False) -> str:
    """`2026-01-15T15:30:00Z`; `exact` adds milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds" if exact else "seconds").replace("+00:00", "Z")


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` without `secrets`: other sides repeat what they were sent. Very short ones would blot out everything."""
    for secret in sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


class _Escapes(dict[int, str]):
    """What each character is shown as; every one is judged once a text."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character not in _HARMLESS and unicodedata.category(character) in _OBEYED:
            character = character.encode("unicode_escape").decode("ascii")
        self[code] = character
        return character


def plural(count: int, one: str, many: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
