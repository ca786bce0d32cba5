"""Checks that no content of a tree makes mails or output harmful."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from html.parser import HTMLParser

from tests.support import Mail

SECRET = "the-key-of-the-owner"  # content of files outside of jobs
SECRET_CODE = "77417741"  # likewise, as a return code


class _Tags(HTMLParser):
    """Fails at each tag or comment that is not in the templates, and at links: these mails have none."""

    allowed = (
        *("html", "head", "meta", "title", "style", "body", "main", "table", "tbody", "tr", "th", "td"),
        *("div", "p", "h1", "h2", "h3", "br", "i", "span", "strong", "code"),
    )
    comments = (
        '[if mso]><table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0"><tr><td><![endif]',
        "[if mso]></td></tr></table><![endif]",
    )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.allowed, f"<{tag} {attrs}>"
        assert not any(name.startswith("on") or value == "evil" for name, value in attrs)

    def handle_comment(self, data: str) -> None:
        assert data in self.comments


_HEADERS = {
    *("from", "to", "subject", "date", "message-id", "in-reply-to", "references", "mime-version", "content-type"),
    *("auto-submitted", "x-auto-response-suppress", "list-id", "list-unsubscribe", "reply-to"),
    *("x-syftnotify-event", "x-syftnotify-audience", "x-syftnotify-entity", "x-syftnotify-items"),
}
_SENT_ONCE = _HEADERS - {"x-syftnotify-entity"}
_ALLOWED_BYTES = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))


def is_printable(text: str) -> bool:
    """Whether the text has no control, format or unassigned characters."""
    forbidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return not any(unicodedata.category(c) in forbidden and c not in "\n\t\u200c\u200d" for c in set(text))


def assert_harmless(mail: Mail, allowed: Iterable[str]) -> None:
    raw = mail.path.read_bytes()
    assert set(raw) <= _ALLOWED_BYTES
    assert b"\r" not in raw.replace(b"\r\n", b"\n")
    names = Counter(name.lower() for name in mail.message)
    assert set(names) <= _HEADERS
    assert all(names[name] == 1 for name in names.keys() & _SENT_ONCE)
    assert mail.to in set(allowed)
    for value in (*map(str, mail.message.values()), *(body.replace("\r\n", "\n") for body in (mail.text, mail.html))):
        assert is_printable(value)
        assert SECRET not in value
        assert SECRET_CODE not in value
    tags = _Tags()
    tags.feed(mail.html)
    tags.close()
