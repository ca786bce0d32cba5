"""What `config.yaml` says of who hears: events, patterns, routes, tag rules."""

from __future__ import annotations

import datetime as dt
import difflib
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from syftnotify.config.values import Duration, Flag, Section, glob, got, number, parse_duration, parse_time_of_day
from syftnotify.core.errors import UnknownKindError
from syftnotify.core.kinds import EventKind, Severity, parse_kind

EVERY = frozenset(EventKind)


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _kinds(value: Any) -> frozenset[EventKind]:
    names = _as_list(value)
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected a list of events, or ['*'], got {got(value)}")
    kinds: set[EventKind] = set()
    errors = []
    for name in names:
        try:
            kinds |= EVERY if name == "*" else {parse_kind(name)}
        except UnknownKindError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    return frozenset(kinds)


def _texts(value: Any, expected: str) -> tuple[str, ...]:
    texts = _as_list(value)
    if (
        not isinstance(texts, (list, tuple))
        or not texts
        or not all(isinstance(text, str) and text.strip() for text in texts)
    ):
        raise ValueError(f"expected {expected}, or a list of them, got {got(value)}")
    return tuple(texts)


def _globs(value: Any) -> tuple[str, ...]:
    return tuple(map(glob, _texts(value, "a pattern such as 'nightly-*'")))


def _people(value: Any) -> tuple[str, ...]:
    return _texts(value, "a role (owner, submitter, operator), an address, #channel, @user or endpoint")


def _severities(value: Any) -> tuple[str, ...]:
    names = _as_list(value)
    known = [severity.value for severity in Severity]
    if not isinstance(names, (list, tuple)) or not all(name in known for name in names):
        raise ValueError(f"expected {', '.join(known)}, or a list of them, got {got(value)}")
    return tuple(names)


Kinds = Annotated[frozenset[EventKind], BeforeValidator(_kinds)]
Globs = Annotated[tuple[str, ...], BeforeValidator(_globs)]
People = Annotated[tuple[str, ...], BeforeValidator(_people)]
Severities = Annotated[tuple[str, ...], BeforeValidator(_severities)]


class Condition(Section):
    """What an event must be like: every key that is set, by any of its patterns; letter case does not matter."""

    submitter: Globs = Field((), description="whose job or peer request it is")
    owner: Globs = Field((), description="at whose data")
    job: Globs = Field((), description="its name")
    tags: Globs = Field((), description="any of its tags")
    severity: Severities = Field((), description="high, medium, low")


class Matching(Condition):
    """The same, and what it must not be like."""

    excluding: Condition | None = Field(None, alias="not", description="what it must not be like, by the same keys")


class RouteSection(Section):
    """One rule: which events, like what, go to whom, through what."""

    events: Kinds = Field(EVERY, description="which events; ['*'] for all")
    match: Matching = Field(Matching(), description="what they must be like")
    to: People = Field((), description="roles and recipients; unset: the transport's default recipient")
    via: str | None = Field(None, description="a transport; unset: by what each recipient looks like")
    goes_on: Flag = Field(False, alias="continue", description="whether the routes behind it are asked, too")


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _weekdays(value: Any) -> frozenset[int]:
    """The days as numbers, Monday is 0; long names such as `monday` are accepted."""
    names = _as_list(value)
    if not isinstance(names, (list, tuple)) or not names or not all(str(name).lower()[:3] in _DAYS for name in names):
        raise ValueError(f"expected a list of days such as [mon, tue], got {got(value)}")
    return frozenset(_DAYS.index(str(name).lower()[:3]) for name in names)


def _zone(value: Any) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        raise ValueError("this machine has no time zone database; run `pip install tzdata`")
    near = difflib.get_close_matches(str(value), sorted(known), n=1)
    guess = f", did you mean `{near[0]}`?" if near else ""
    raise ValueError(f"expected a time zone such as 'Europe/Berlin', got {got(value)}{guess}")


TimeOfDay = Annotated[dt.time, BeforeValidator(parse_time_of_day)]


class QuietSection(Section):
    """When nobody is to be disturbed."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    begin: TimeOfDay = Field(alias="from", description="their beginning: '22:00'")
    end: TimeOfDay = Field(alias="to", description="their end: '07:00'")
    zone: Annotated[zoneinfo.ZoneInfo, BeforeValidator(_zone)] | None = Field(None, description="unset: this machine's")
    days: Annotated[frozenset[int], BeforeValidator(_weekdays)] = Field(
        frozenset(range(7)), description="on which they begin: [mon, tue]"
    )
    sparing: Severities = Field(("high",), alias="except", description="what is told all the same")

    @model_validator(mode="after")
    def _not_always(self) -> QuietSection:
        if self.begin == self.end and len(self.days) == len(_DAYS):
            raise ValueError(
                f"`from` and `to` are both {self.begin:%H:%M}, so every hour is quiet; set different times, or `days` "
                "for whole days"
            )
        return self


_LONGEST_PAUSE = 7 * 86400.0  # seconds; what waits for longer counts in the outbox as set by a clock that jumped


def _pause(value: Any) -> float:
    return parse_duration(value, limit=_LONGEST_PAUSE)


class DigestSection(Section):
    """The limit of single messages to one recipient; excess messages become one digest."""

    above: Annotated[int, number(1, 10000, "messages", whole=True)] = Field(
        5, description="single messages to one recipient"
    )
    within: Duration = Field(60.0, description="in this time: 60s")
    every: Annotated[float, BeforeValidator(_pause)] = Field(
        600.0, description="one digest in this time: 10m, at most 7d"
    )
    include_high: Flag = Field(False, description="whether events of high severity are put into digests, too")


def _role(value: Any) -> str:
    if value not in ("owner", "scientist"):
        raise ValueError(f"expected owner or scientist, got {got(value)}")
    return str(value)


Role = Annotated[Literal["owner", "scientist"], BeforeValidator(_role)]


def _durations(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


Durations = Annotated[tuple[Duration, ...], BeforeValidator(_durations)]


class Reminders(Section):
    """After how long somebody is reminded; one time or several."""

    job_waiting: Durations = Field((), description="the owner, of a job that waits: 24h, or [24h, 72h]")
    job_long_running: Durations = Field((), description="the owner, of a job that runs on: 2h")
    to: People = Field((), description="who is reminded, a co-owner say; unset: as the routes say")
