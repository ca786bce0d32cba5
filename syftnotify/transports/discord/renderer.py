"""Rendering for Discord, in its Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from syftnotify.core.text import escape, plural
from syftnotify.transports.chat import ChatRenderer

# Maximum length of a message in UTF-16 code units. Discord may count fewer characters, never more.
# Source: https://discord.com/developers/docs/resources/webhook#execute-webhook
CONTENT_LIMIT = 2000
_MAX_TEXT = 300  # characters of one external text
_MAX_LINK = 500  # characters of a URL; a longer one is left out
# A backslash before punctuation prevents markup, mentions, emoji names and automatic links.
# Source: https://support.discord.com/hc/en-us/articles/210298617
_MARKUP = re.compile(r"([\\`*_~|<>\[\]()#@:\-+])")
_URL_CHARACTERS = "/:?#[]@!$&'*+,;=%~"  # reserved ones of RFC 3986, without `()`, which would end a link


class DiscordRenderer(ChatRenderer):
    """Renders notifications for a channel of a Discord server."""

    def escaped(self, text: str) -> str:
        plain = escape(text, limit=_MAX_TEXT)
        if len(plain) > _MAX_TEXT:  # escaping made it longer
            plain = plain[: _MAX_TEXT - 1] + "…"
        return _MARKUP.sub(r"\\\1", plain)

    def link(self, url: str, text: str) -> str:
        address = quote(url, safe=_URL_CHARACTERS)
        return f"[{text}](<{address}>)" if len(address) <= _MAX_LINK else ""  # `<>` prevents a preview

    def joined(self, lines: Sequence[str]) -> str:
        """As many lines as fit into one message; a last line counts the others."""
        for count in range(len(lines), 0, -1):
            more = [f"and {plural(len(lines) - count, 'more line')}"] if count < len(lines) else []
            text = "\n".join([*lines[:count], *more])
            if length(text) <= CONTENT_LIMIT:
                break
        return text


def length(text: str) -> int:
    """The length of `text` in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
