"""Text for display: escaping and redacting text from outside, times, suggestions, numbers with a noun."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

from syftnotify.core.confusables import escape_quotes, escape_unsafe

# Shorter secrets are not redacted: they would occur by chance in ordinary text.
_MIN_SECRET_LENGTH = 4
_HALF_A_YEAR = 183 * 86400.0  # seconds
_MAX_COMPARED = 40  # characters; a similarity search is slow, and the text may come from anywhere
_UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def escape(text: str, *, limit: int = 300, quoted: bool = False) -> str:
    """The first `limit` characters of `text` on one line, with unsafe characters escaped.

    Unsafe characters control the display, are invisible or imitate other text. `quoted` also escapes quotation marks,
    so that the result can be put between them.
    """
    cut = text[:limit]
    if not cut.isascii() or not cut.isprintable():
        cut = escape_unsafe(cut)
    if quoted:
        cut = escape_quotes(cut)
    return cut + "…" if len(text) > limit else cut


def escape_block(text: str) -> str:
    """Like `escape` for text of several lines: line ends and tabs stay, and nothing is cut."""
    return escape_unsafe(text.replace("\r\n", "\n").replace("\r", "\n"), allowed="\n\t")


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` with each of `secrets` replaced by an ellipsis. Error messages of servers may repeat what was sent."""
    for secret in sorted({each for each in secrets if len(each) >= _MIN_SECRET_LENGTH}, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def hostname(url: str) -> str:
    """The host of `url`, which may be shown; the path of a webhook URL is often a secret."""
    try:
        return urlsplit(url).hostname or "the address"
    except ValueError:  # for example an IPv6 address without its closing bracket
        return "the address"


def decode(content: bytes) -> str:
    """The text of a file that users edit or download: UTF-8, with or without a byte order mark.

    Raises:
        ValueError: the encoding is a different one. The message repeats nothing of the content.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise ValueError("UTF-16 or UTF-32 text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text; save it as UTF-8") from None


def iso(seconds: float, *, exact: bool = False) -> str:
    """`2026-01-15T15:30:00Z` for seconds since 1970; `exact` adds milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds" if exact else "seconds").replace("+00:00", "Z")


def timestamp(moment: str) -> float | None:
    """An ISO time, without a zone in UTC, in seconds since 1970; None for other text."""
    try:
        parsed = datetime.fromisoformat(moment)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def local_time(seconds: float) -> str:
    """`2026-01-15 21:00:00+05:30` for seconds since 1970: the local time with its offset, for display.

    `--since` and `--older-than` accept this format. JSON and log lines use `iso`.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):  # outside the years that `datetime` or the platform supports
        return f"{seconds:.0f} s since 1970"


def short_time(seconds: float, now: float, *, utc: bool = False) -> str:
    """`28 Nov 14:05`, or `28 Nov  2025` if that is months from `now`, as `ls -l` does; in local time, or in UTC."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # outside the years that `datetime` or the platform supports
        return "unknown"
    moment = moment if utc else moment.astimezone()
    return f"{moment:%d %b %H:%M}" if abs(now - seconds) < _HALF_A_YEAR else f"{moment:%d %b  %Y}"


def short_name(entity: str) -> str:
    """The name of a job of the tree, `worker` for the notifier itself, any other entity as it is; as text to show."""
    parts = entity.split("/")
    if entity.startswith("worker/%2F"):  # followed by the path of its home
        return parts[0]
    is_of_tree = parts[0] in {"job", "peer"} and len(parts) > 2
    return escape(unquote(parts[-1]) if is_of_tree else entity, limit=120)


def age_text(seconds: float) -> str:
    """A duration for display, in its largest unit of which there are at least two: `12 s`, `30 minutes`, `3 days`."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"


def iso_to_local(moment: str) -> str:
    """An ISO 8601 time as `local_time` formats it; any other text is returned unchanged."""
    try:
        return local_time(datetime.fromisoformat(moment).timestamp())
    except (OverflowError, ValueError):
        return moment


def with_local_times(text: str) -> str:
    """A text in which each UTC time `2026-01-15T15:30:00Z` is formatted as `local_time` does."""
    return _UTC_TIME.sub(lambda found: iso_to_local(found.group()), text)


def listed(items: Sequence[str], conjunction: str) -> str:
    """`a`, `a or b`, `a, b or c`: at least one item."""
    *others, last = items
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` with the entry of `known` that is most similar to `text`; empty if none is similar."""
    similar = difflib.get_close_matches(text[:_MAX_COMPARED], list(known), n=1)
    return f"; did you mean `{similar[0]}`?" if similar else ""


def plural(count: int, one: str, many: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


_HTML_SPECIAL = re.compile("[&<>\"']")


def html_size(text: str) -> int:
    """The bytes of `text` in HTML at most, as UTF-8: an escaped character takes up to six."""
    return len(text.encode("utf-8")) + 5 * len(_HTML_SPECIAL.findall(text))
