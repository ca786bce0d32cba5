"""Types of the values in `config.yaml`, each with the error message for an invalid value."""

from __future__ import annotations

import datetime as dt
import fnmatch
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

from syftnotify.core.identifiers import is_address
from syftnotify.core.text import escape
from syftnotify.system.paths import expansion_error


def redacted_repr(value: Any) -> str:
    """`value` for an error message; URLs are cut after the scheme, because they often contain secrets."""
    return escape(re.sub(r"(\w+://)[^\s'\"]+", r"\1…", repr(value)), limit=60)


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {redacted_repr(value)}")
    return value


def number(low: float, high: float, unit: str, *, whole: bool = False) -> BeforeValidator:
    """A validator for a number from `low` to `high`; `unit` is its unit in the error message."""

    def check(value: Any) -> Any:
        types = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, types) or not low <= value <= high:
            raise ValueError(_expected_number(low, high, unit, value, whole=whole))
        return value

    return BeforeValidator(check)


def _expected_number(low: float, high: float, unit: str, value: Any, *, whole: bool = False) -> str:
    noun = "an integer" if whole else "a number"
    return f"expected {noun} from {low:g} to {high:.0f} ({unit}), got {redacted_repr(value)}"


def count_or_none(low: int, high: int, unit: str) -> BeforeValidator:
    """A validator for an integer from `low` to `high`, or the word `none`; `unit` is its unit in the error message."""

    def check(value: Any) -> int | None:
        if value is None or value == "none":
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"expected an integer from {low} to {high} ({unit}), or none, got {redacted_repr(value)}")
        return value

    return BeforeValidator(check)


def _address(value: Any) -> str:
    if not isinstance(value, str) or not is_address(value):
        raise ValueError(f"expected a mail address, got {redacted_repr(value)}")
    return value


def _pattern(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected an address or a pattern such as '*@uni.example', got {redacted_repr(value)}")
    if any(character.isspace() for character in value):
        raise ValueError(f"expected one address or pattern without blanks per entry, got {redacted_repr(value)}")
    return valid_glob(value)


def valid_glob(text: str) -> str:
    """Check a pattern with `*`, `?` and `[a-z]`, and return it.

    Raises:
        ValueError: it has an unclosed bracket, or one that no character matches.
    """
    if "[" in _BRACKET.sub("", text):
        raise ValueError(f"the pattern {redacted_repr(text)} has an unclosed bracket; write `[[]` to match a `[`")
    if "(?!)" in fnmatch.translate(text):  # the translation of an empty range such as [z-a]
        raise ValueError(f"the pattern {redacted_repr(text)} has a bracket that no character matches")
    return text


# A `]` directly after the opening bracket is an ordinary character. Source: the module fnmatch.
_BRACKET = re.compile(r"\[!?+\]?+[^\]]*\]")


def _path(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise ValueError(f"expected a path, got {redacted_repr(value)}")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"expected a path, got {redacted_repr(value)}: {expansion_error(value)}") from None
    return Path(value)


def parse_time_of_day(value: Any, *, expected: str = "a time of day such as '22:00'") -> dt.time:
    """Parse `"07:30"`, from 00:00 to 23:59.

    Raises:
        ValueError: it is not a time of day; the message names what is `expected`.
    """
    try:
        return dt.datetime.strptime(value, "%H:%M").time()  # noqa: DTZ007 - a time of day has no timezone
    except (TypeError, ValueError):
        midnight = "; midnight is 00:00" if str(value).startswith("24:") else ""
        raise ValueError(f"expected {expected}, got {redacted_repr(value)}{midnight}") from None


def parse_optional_time_of_day(value: Any) -> dt.time | None:
    """Like `parse_time_of_day`; true is 08:00, false is None.

    Raises:
        ValueError: it is none of these.
    """
    if value is None or value is False:
        return None
    if value is True:
        return dt.time(8)
    return parse_time_of_day(value, expected="true, false or a time of day such as '07:30'")


def _link(value: Any) -> str:
    if not isinstance(value, str) or urlsplit(value).scheme not in {"http", "https"}:
        raise ValueError(
            f"expected a URL template such as 'https://box.example/jobs/{{job}}', got {redacted_repr(value)}"
        )
    try:
        value.format_map(dict.fromkeys(LINK_FIELDS, ""))
    except (KeyError, ValueError, IndexError, AttributeError):
        known = ", ".join(f"{{{name}}}" for name in LINK_FIELDS)
        raise ValueError(f"unknown or malformed placeholder; known ones: {known}") from None
    return value


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
_MAX_DURATION = 20 * 366 * 86400.0  # seconds


def _duration_seconds(value: Any) -> float:
    """The seconds of `"90s"`, `"10m"`, `"2h"`, `"3d"` or `"26w"`; NaN for anything else."""
    match = _DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    return float(match.group(1)) * _UNITS[match.group(2)] if match else math.nan


class DurationRangeError(ValueError):
    """A duration of zero, or one that is too long."""


def parse_duration(value: Any, *, limit: float = _MAX_DURATION) -> float:
    """Parse a duration with a unit, in seconds. A number without a unit is refused as ambiguous.

    Raises:
        DurationRangeError: it is zero, or longer than `limit` seconds (default: 20 years).
        ValueError: it is not a duration.
    """
    length = _duration_seconds(value)
    if math.isnan(length):
        raise ValueError(f"expected a duration with a unit such as 90s, 10m, 2h, 3d or 26w, got {redacted_repr(value)}")
    if not 0 < length <= limit:
        least = "" if length else "more than 0s and "
        raise DurationRangeError(f"expected {least}at most {limit / 86400:g}d, got {redacted_repr(value)}")
    return length


def parse_seconds(value: Any, low: float, high: float) -> float:
    """Parse a number of seconds, or a duration with a unit.

    Raises:
        ValueError: it is neither, or not from `low` to `high`.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    parsed = value if is_number else _duration_seconds(value)
    if not low <= parsed <= high:
        raise ValueError(_expected_number(low, high, "seconds", value))
    return float(parsed)


def _seconds_between(low: float, high: float) -> BeforeValidator:
    return BeforeValidator(lambda value: parse_seconds(value, low, high))


MIN_INTERVAL, MAX_INTERVAL = 1, 86400  # seconds between two scans
MIN_HEARTBEAT, MAX_HEARTBEAT = 60.0, 7 * 86400.0  # seconds
Duration = Annotated[float, BeforeValidator(parse_duration)]

# Placeholders of a link template; their values are percent-encoded.
LINK_FIELDS = ("job", "owner", "submitter", "peer", "entity")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"expected one line of text, got {redacted_repr(value)}")
    return value


def _secret(value: Any) -> SecretStr:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("expected one line of text")
    return SecretStr(value)


_DATABASE_SCHEMES = ("postgresql+psycopg", "postgresql", "postgres")


def _database(value: Any) -> SecretStr:
    """A URL of PostgreSQL in the form of SQLAlchemy."""
    text = _secret(value).get_secret_value()
    scheme, separator, rest = text.partition("://")
    if scheme not in _DATABASE_SCHEMES or not separator or not rest:
        raise ValueError("expected `postgresql+psycopg://user:password@host/name`")
    try:
        parts = urlsplit(text)
        if parts.netloc.count("@") > 1 or "@" in f"{parts.path}{parts.fragment}" or parts.fragment:
            raise ValueError("part of the password is outside of its place")
        _ = parts.port
    except ValueError:  # its text may quote the password
        raise ValueError("percent-encode the characters `%@:/?#[]` of the password; the port is a number") from None
    if not parts.path.strip("/"):
        raise ValueError("it names no database; write `postgresql+psycopg://user:password@host/name`")
    return SecretStr(f"{_DATABASE_SCHEMES[0]}://{rest}")


Database = Annotated[SecretStr, BeforeValidator(_database)]


# Headers that the HTTP client sets for each request; a different value would make the request invalid.
_CLIENT_HEADERS = frozenset({"content-length", "host", "transfer-encoding"})


def _header_name(value: Any) -> str:
    # RFC 9110, section 5.1
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value) is None:
        raise ValueError("not a valid header name")
    if value.lower() in _CLIENT_HEADERS:
        raise ValueError("set by the HTTP client for each request; remove this header")
    return value


def _header_value(value: Any) -> SecretStr:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise ValueError("expected one line of text, in ASCII")
    return SecretStr(value)


class CombinedKeys(dict[str, Any]):
    """The value of a setting that the file gives in several keys. An error in it is reported for their section."""


HeaderName = Annotated[str, BeforeValidator(_header_name)]
# Secrets: never shown.
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
HeaderValue = Annotated[SecretStr, BeforeValidator(_header_value)]
Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Address = Annotated[str, BeforeValidator(_address)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Link = Annotated[str, BeforeValidator(_link)]
Interval = Annotated[float, _seconds_between(MIN_INTERVAL, MAX_INTERVAL)]
HeartbeatInterval = Annotated[float, _seconds_between(MIN_HEARTBEAT, MAX_HEARTBEAT)]
Retries = Annotated[int, number(0, 1000, "retries", whole=True)]
Rate = Annotated[float, number(0.001, 10000, "messages a second")]
Timeout = Annotated[float, _seconds_between(1, 3600)]
DailyLimit = Annotated[int | None, count_or_none(1, 1_000_000, "messages")]
OnUnknown = Literal["resend", "hold"]
Burst = Annotated[int, number(1, 10000, "messages", whole=True)]


class Section(BaseModel):
    """Base of the sections of `config.yaml`; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
