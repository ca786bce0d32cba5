"""How is text from outside made harmless? Shown, never obeyed: no control character survives."""

from __future__ import annotations

import unicodedata

# Categories that a terminal, a mail program or a reader's eye may obey: controls, formats (among them the
# bidirectional overrides), surrogates, private use, unassigned, line and paragraph separators.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Joiners are formats too, but harmless, and emoji and several scripts need them.
_HARMLESS = frozenset("\u200c\u200d")


def shown(text: str, *, limit: int = 300) -> str:
    """`text` on one line, with what could be obeyed written as an escape, cut to `limit` characters."""
    cut = text[:limit]
    if not cut.isascii() or not cut.isprintable():
        cut = "".join(c if _is_plain(c) else c.encode("unicode_escape").decode("ascii") for c in cut)
    return cut + "…" if len(text) > limit else cut


def shown_block(text: str) -> str:
    """Like `shown` for text of many lines: line ends and tabs stay, nothing is cut."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join("\t".join(shown(part, limit=len(part) or 1) for part in line.split("\t")) for line in lines)


def _is_plain(character: str) -> bool:
    return character in _HARMLESS or unicodedata.category(character) not in _OBEYED


def plural(count: int, one: str, many: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
