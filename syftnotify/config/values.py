"""What kinds of values stand in `config.yaml`, each with how a mistake in it is told."""

from __future__ import annotations

import datetime as dt
import fnmatch
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

from syftnotify.core.identifiers import LOOPBACK, is_address
from syftnotify.core.text import escape
from syftnotify.system.paths import why_not_expanded


def got(value: Any) -> str:
    """A value as a mistake may show it: of addresses the beginning alone, for the rest is often a secret."""
    return escape(re.sub(r"(\w+://)[^\s'\"]+", r"\1…", repr(value)), limit=60)


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {got(value)}")
    return value


def number(low: float, high: float, unit: str, *, whole: bool = False) -> BeforeValidator:
    def check(value: Any) -> Any:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise ValueError(f"expected {low:g} to {high:.0f} {unit}, got {got(value)}")
        return value

    return BeforeValidator(check)


def _address(value: Any) -> str:
    if not isinstance(value, str) or not is_address(value):
        raise ValueError(f"expected a mail address, got {got(value)}")
    return value


def _pattern(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected an address or a pattern such as '*@uni.example', got {got(value)}")
    if any(character.isspace() for character in value):
        raise ValueError(f"expected one address or pattern in each entry, got {got(value)}; no address has blanks")
    return glob(value)


def glob(text: str) -> str:
    """A pattern with `*`, `?` and `[a-z]`, returned as it is.

    Raises:
        ValueError: a bracket is never closed, or no character can match it, so that it would match by accident only.
    """
    if "[" in _BRACKET.sub("", text):
        raise ValueError(f"the pattern {got(text)} has an unclosed bracket; `[[]` matches a `[` itself")
    if "(?!)" in fnmatch.translate(text):  # how it writes an empty range such as [z-a]
        raise ValueError(f"no character matches a bracket of the pattern {got(text)}")
    return text


# A `]` directly after the opening bracket stands for itself. Source: the module fnmatch.
_BRACKET = re.compile(r"\[!?+\]?+[^\]]*\]")


def _path(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ValueError(f"expected a path, got {got(value)}")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"expected a path, got {got(value)}: {why_not_expanded(value)}") from None
    return Path(value)


def is_safe_url(url: str) -> bool:
    """Whether `url` is https, or http to this very machine (an emulator, a proxy): secrets travel nowhere else."""
    return _leads_by(url) == "https" or (_leads_by(url) == "http" and urlsplit(url).hostname in LOOPBACK)


def _leads_by(url: str) -> str:
    """The scheme of an address that leads somewhere, nothing of any other."""
    try:
        parts = urlsplit(url)
        return parts.scheme if parts.hostname and " " not in parts.netloc and parts.port != 0 else ""
    except ValueError:
        return ""


def _safe_url(value: Any) -> str:
    # The value itself is not repeated: an address of this sort is often its own password.
    if not isinstance(value, str) or not is_safe_url(value):
        raise ValueError("expected an https address (http only on this machine)")
    return value


def time_of_day(value: Any, *, expected: str = "a time of the day such as '22:00'") -> dt.time:
    """`"07:30"`, from 00:00 to 23:59. Raises: ValueError."""
    try:
        return dt.datetime.strptime(value, "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except (TypeError, ValueError):
        midnight = "; midnight is 00:00" if str(value).startswith("24:") else ""
        raise ValueError(f"expected {expected}, got {got(value)}{midnight}") from None


def optional_time_of_day(value: Any) -> dt.time | None:
    """Like `time_of_day`; true is 08:00, false is None. Raises: ValueError."""
    if value is None or value is False:
        return None
    if value is True:
        return dt.time(8)
    return time_of_day(value, expected="true, false or a time of the day such as '07:30'")


def _link(value: Any) -> str:
    if not isinstance(value, str) or urlsplit(value).scheme not in {"http", "https"}:
        raise ValueError(f"expected an address template such as 'https://box.example/jobs/{{job}}', got {got(value)}")
    try:
        value.format_map(dict.fromkeys(LINK_FIELDS, ""))
    except (KeyError, ValueError, IndexError, AttributeError):
        raise ValueError(f"knows only {', '.join('{' + name + '}' for name in LINK_FIELDS)}") from None
    return value


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
_LONGEST = 20 * 366 * 86400.0  # seconds


def _with_unit(value: Any) -> float:
    """`"90s"`, `"10m"`, `"2h"`, `"3d"`, `"26w"` in seconds; NaN for anything else."""
    match = _DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    return float(match.group(1)) * _UNITS[match.group(2)] if match else math.nan


class DurationRangeError(ValueError):
    """A duration of zero, or one that is too long."""


def duration(value: Any, *, longest: float = _LONGEST) -> float:
    """A duration with a unit, in seconds. A bare number is refused, because it does not show its unit.

    Raises:
        DurationRangeError: it is zero, or longer than `longest` (20 years).
        ValueError: it is not a duration.
    """
    seconds = _with_unit(value)
    if math.isnan(seconds):
        raise ValueError(f"expected a duration with a unit such as 90s, 10m, 2h, 3d or 26w, got {got(value)}")
    if not 0 < seconds <= longest:
        least = "" if seconds else "more than 0s and "
        raise DurationRangeError(f"expected {least}at most {longest / 86400:g}d, got {got(value)}")
    return seconds


def seconds(value: Any, low: float, high: float) -> float:
    """A number of seconds, or a duration with a unit. Raises: ValueError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    found = value if is_number else _with_unit(value)
    if not low <= found <= high:
        raise ValueError(f"expected {low:g} to {high:.0f} seconds, got {got(value)}")
    return float(found)


def _seconds(low: float, high: float) -> BeforeValidator:
    return BeforeValidator(lambda value: seconds(value, low, high))


LEAST_INTERVAL, LONGEST_INTERVAL = 1, 86400  # seconds between two scans
Duration = Annotated[float, BeforeValidator(duration)]

# What a link template may name. All are percent-encoded when they are put in.
LINK_FIELDS = ("job", "owner", "submitter", "peer", "entity")


def _daily_limit(value: Any) -> int | None:
    if value is None or value == "none":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError(f"expected a number of messages from 1 to 1000000, or none, got {got(value)}")
    return value


def _secret_url(value: Any) -> SecretStr:
    return SecretStr(_safe_url(value))


def _web_url(value: Any) -> SecretStr:
    if not isinstance(value, str) or _leads_by(value) not in {"http", "https"} or not value.isprintable():
        raise ValueError("expected an address such as 'https://hooks.example/x'")
    return SecretStr(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"expected text of one line, got {got(value)}")
    return value


def _secret(value: Any) -> SecretStr:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("expected text of one line")
    return SecretStr(value)


# They say how the request itself is written: of ours alone, one that says something else breaks it.
_FRAMING = frozenset({"content-length", "host", "transfer-encoding"})


def _header_name(value: Any) -> str:
    # RFC 9110, 5.1
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value) is None:
        raise ValueError("is no name of a header")
    if value.lower() in _FRAMING:
        raise ValueError("is a header that each request sets for itself: leave it out")
    return value


def _header_value(value: Any) -> SecretStr:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise ValueError("expected text of one line, in ASCII")
    return SecretStr(value)


class CombinedKeys(dict[str, Any]):
    """The value of a setting that the file gives in several keys. An error in it is reported for their section."""


def unencrypted(exposed: Sequence[str]) -> str:
    """The warning that these parts of requests, by name, leave this machine unencrypted."""
    *others, last = exposed
    what = f"{', '.join(others)} and {last}" if others else last
    return f"{what} {'are' if others else 'is'} sent over unencrypted http:// and can be read on the way"


HeaderName = Annotated[str, BeforeValidator(_header_name)]
# Secrets, shown nowhere.
SecretUrl = Annotated[SecretStr, BeforeValidator(_secret_url)]  # https, or this machine
WebUrl = Annotated[SecretStr, BeforeValidator(_web_url)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
HeaderValue = Annotated[SecretStr, BeforeValidator(_header_value)]
Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Address = Annotated[str, BeforeValidator(_address)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
FilePath = Annotated[Path, BeforeValidator(_path)]
SafeUrl = Annotated[str, BeforeValidator(_safe_url)]
Link = Annotated[str, BeforeValidator(_link)]
Interval = Annotated[float, _seconds(LEAST_INTERVAL, LONGEST_INTERVAL)]
Retries = Annotated[int, number(0, 1000, "retries", whole=True)]
Rate = Annotated[float, number(0.001, 10000, "messages a second")]
TimeOut = Annotated[float, _seconds(1, 3600)]
DailyLimit = Annotated[int | None, BeforeValidator(_daily_limit)]
OnUnknown = Literal["resend", "hold"]
Burst = Annotated[int, number(1, 10000, "messages", whole=True)]


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
