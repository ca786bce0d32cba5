"""The filters that mail templates may use."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup
from markupsafe import escape as escape_html

from syftnotify.core.confusables import escape_quotes
from syftnotify.core.identifiers import is_address
from syftnotify.core.text import plural

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_LINK_SIGNS = re.compile(r"(?<=\w)([.@](?=\w)|:(?=/))")
_DOTS = re.compile(r"(?<=\w)\.(?=\w)")
_LINK_WORDS = re.compile(r"\S+[.:@]\S+")
_CODE = re.compile(r"`([^`]+)`")


def format_datetime(value: Any) -> str:
    """`January 15, 2024 at 03:30 PM`, in every locale, for a `datetime` or an ISO 8601 text.

    Other text is returned unchanged, None as empty text.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return str(value)
    if not isinstance(value, datetime):
        return "" if value is None else str(value)
    half = "AM" if value.hour < 12 else "PM"
    hour = value.hour % 12 or 12
    return f"{_MONTHS[value.month - 1]} {value.day:02d}, {value.year} at {hour:02d}:{value.minute:02d} {half}"


def format_moment(value: Any) -> str:
    """`15 Jan 2024, 15:30 CET` for a `datetime` with a zone, in every locale; other values as `format_datetime`."""
    if not isinstance(value, datetime):
        return format_datetime(value)
    zone = value.tzname() or ""
    label = f"UTC{zone}" if zone[:1] in {"+", "-"} else zone  # zones without an abbreviation
    return (
        f"{value.day} {_MONTHS[value.month - 1][:3]} {value.year}, {value.hour:02d}:{value.minute:02d} {label}".strip()
    )


def format_span(value: Any) -> str:
    """`14 s`, `2 h 10 min`, `3 days 4 h`: a number of seconds in at most two units; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return ""
    seconds = max(0, int(value))
    units = ((seconds // 86400, "day"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    first = next((index for index, (count, _) in enumerate(units) if count), len(units) - 1)
    shown = units[first : first + 2] if seconds < 600 or first < 2 else units[first : first + 1]
    texts = (plural(count, unit) if unit == "day" else f"{count} {unit}" for count, unit in shown if count)
    return " ".join(texts) or "0 s"


def quoted(value: Any) -> str:
    """External text of several lines as a quotation: each line begins with `> `."""
    return "\n".join(f"> {line}".rstrip() for line in str(value).splitlines())


def in_quotes(value: Any) -> str:
    """External text that cannot end the quotation marks around it."""
    return escape_quotes("" if value is None else str(value))


def unlinked(value: Any) -> Markup:
    """A name as HTML that mail programs do not turn into a link, such as `main.py` or a host name.

    A zero-width non-joiner after each dot, @ and `:/` is invisible, and ends what looks like an address.
    """
    escaped = str(escape_html("" if value is None else value))
    return Markup(_LINK_SIGNS.sub("\\1\N{ZERO WIDTH NON-JOINER}", escaped))  # noqa: S704 - escaped above


def unlinked_names(value: Any) -> Markup:
    """A sentence as HTML; like `unlinked`, except for mail addresses, which readers copy."""
    escaped = str(escape_html("" if value is None else value))
    return Markup(_LINK_WORDS.sub(_unlinked_unless_address, escaped))  # noqa: S704 - escaped above


def _unlinked_unless_address(word: re.Match[str]) -> str:
    text = word[0]
    return text if is_address(text.strip(".,;:()")) else _LINK_SIGNS.sub("\\1\N{ZERO WIDTH NON-JOINER}", text)


def split_dots(value: Any) -> Markup:
    """Code to copy as HTML. Elements around dots end what looks like an address, and add nothing to the copy."""
    escaped = str(escape_html("" if value is None else value))
    return Markup(_DOTS.sub("<span>.</span>", escaped))  # noqa: S704 - escaped above


def code_marks(value: Any) -> Markup:
    """An own sentence as HTML, with what is between backquotes as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape_html(value))))  # noqa: S704 - escaped here


def tidy(value: Any) -> str:
    """Text without blanks at the ends of lines, and with at most one blank line in a row."""
    text = "\n".join(line.rstrip() for line in str(value).strip().split("\n"))
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text + "\n"


def indented(value: Any) -> str:
    """External text with four spaces before each line, so that no line looks like one of the mail itself.

    Lines end as for `str.splitlines`, which recognizes every line end of mail programs. Blank lines stay unchanged.
    """
    lines = str(value).splitlines(keepends=True)
    return "".join(f"    {line}" if line.strip() else line for line in lines)


def format_duration(value: Any) -> str:
    """`2 hours 15 minutes 30 seconds` for a number of seconds, without the parts that are zero.

    Anything else is returned as text, None as empty text.
    """
    try:
        seconds = max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return "" if value is None else str(value)
    parts = ((seconds // 3600, "hour"), (seconds // 60 % 60, "minute"), (seconds % 60, "second"))
    return " ".join(plural(count, unit) for count, unit in parts if count) or "0 seconds"


FILTERS: Mapping[str, Callable[[Any], str]] = {
    "datetime": format_datetime,
    "moment": format_moment,
    "duration": format_duration,
    "span": format_span,
    "indented": indented,
    "quoted": quoted,
    "in_quotes": in_quotes,
    "unlinked": unlinked,
    "unlinked_names": unlinked_names,
    "split_dots": split_dots,
    "code_marks": code_marks,
    "tidy": tidy,
}
