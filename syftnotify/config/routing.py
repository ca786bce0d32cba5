"""The part of the schema about routes, quiet hours, digests and reminders."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from syftnotify.config.values import (
    Duration,
    Flag,
    Section,
    number,
    parse_duration,
    parse_time_of_day,
    redacted_repr,
    valid_glob,
)
from syftnotify.core.errors import UnknownKindError
from syftnotify.core.kinds import EventKind, Severity, parse_kind
from syftnotify.core.text import did_you_mean

EVERY = frozenset(EventKind)


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _kinds(value: Any) -> frozenset[EventKind]:
    names = _as_list(value)
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected a list of events, or ['*'], got {redacted_repr(value)}")
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
        raise ValueError(f"expected {expected}, or a list of them, got {redacted_repr(value)}")
    return tuple(texts)


def _globs(value: Any) -> tuple[str, ...]:
    return tuple(map(valid_glob, _texts(value, "a pattern such as 'nightly-*'")))


def _people(value: Any) -> tuple[str, ...]:
    return _texts(value, "a role (owner, submitter, operator), an address, #channel, @user or endpoint")


def _severities(value: Any) -> tuple[str, ...]:
    names = _as_list(value)
    known = [severity.value for severity in Severity]
    if not isinstance(names, (list, tuple)) or not all(name in known for name in names):
        raise ValueError(f"expected {', '.join(known)}, or a list of them, got {redacted_repr(value)}")
    return tuple(names)


Kinds = Annotated[frozenset[EventKind], BeforeValidator(_kinds)]
Globs = Annotated[tuple[str, ...], BeforeValidator(_globs)]
People = Annotated[tuple[str, ...], BeforeValidator(_people)]
Severities = Annotated[tuple[str, ...], BeforeValidator(_severities)]


class Condition(Section):
    """A condition on events: every key that is set must match, by any of its patterns. Letter case is ignored."""

    submitter: Globs = Field(
        (), description="the submitter of the job, or the requesting peer: patterns such as `*@uni.example`"
    )
    owner: Globs = Field((), description="the data owner: patterns")
    job: Globs = Field((), description="the name or the entity of the job: patterns such as `nightly-*`")
    tags: Globs = Field((), description="any of its tags: patterns")
    severity: Severities = Field((), description="`high`, `medium`, `low`")


class Matching(Condition):
    """A condition with an exception."""

    excluding: Condition | None = Field(None, alias="not", description="exceptions, with the same keys")


class RouteSection(Section):
    """A route: which events go to which recipients."""

    events: Kinds = Field(EVERY, description="which events, in any spelling; `['*']` for all")
    match: Matching = Field(Matching(), description="condition on the events")
    to: People = Field(
        (),
        description="recipients: `owner`, `submitter`, `operator`, an address, `#channel`, `@user`, the name of a "
        "discord or webhook transport; unset: the transport's default recipient",
    )
    transport: str | None = Field(
        None,
        validation_alias=AliasChoices("transport", "via"),
        description="the transport; also spelled `via`; unset: by the type of each recipient's address",
    )
    continue_: Flag = Field(False, alias="continue", description="whether later routes are evaluated, too")


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _weekdays(value: Any) -> frozenset[int]:
    """The days as numbers, Monday is 0; long names such as `monday` are accepted."""
    names = _as_list(value)
    if not isinstance(names, (list, tuple)) or not names or not all(str(name).lower()[:3] in _DAYS for name in names):
        raise ValueError(f"expected a list of days such as [mon, tue], got {redacted_repr(value)}")
    return frozenset(_DAYS.index(str(name).lower()[:3]) for name in names)


def _timezone(value: Any) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        raise ValueError("this machine has no timezone database; run `pip install tzdata`")
    guess = did_you_mean(str(value), sorted(known))
    raise ValueError(f"expected a timezone such as 'Europe/Berlin', got {redacted_repr(value)}{guess}")


TimeOfDay = Annotated[dt.time, BeforeValidator(parse_time_of_day)]


Timezone = Annotated[zoneinfo.ZoneInfo, BeforeValidator(_timezone)]


class QuietHoursSection(Section):
    """When notifications are deferred."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    begin: TimeOfDay = Field(
        alias="from", description="when they begin: `'22:00'`. Two equal times are whole days, and need `days`"
    )
    end: TimeOfDay = Field(alias="to", description="when they end, which may be on the next day: `'07:00'`")
    timezone: Timezone | None = Field(
        None,
        validation_alias=AliasChoices("timezone", "zone"),
        description="such as `Europe/Berlin`; also spelled `zone`; unset: this machine's",
    )
    days: Annotated[frozenset[int], BeforeValidator(_weekdays)] = Field(
        frozenset(range(7)), description="on which they begin: `[mon, tue]`"
    )
    exempt: Severities = Field(("high",), alias="except", description="severities that are sent at once")

    @model_validator(mode="after")
    def _not_always(self) -> QuietHoursSection:
        if self.begin == self.end and len(self.days) == len(_DAYS):
            raise ValueError(
                f"`from` and `to` are both {self.begin:%H:%M}, so every hour is quiet; set different times, or `days` "
                "for whole days"
            )
        return self


# Seconds. The outbox shortens longer waits, because they may come from a wrong clock.
_MAX_DIGEST_INTERVAL = 7 * 86400.0


def _digest_interval(value: Any) -> float:
    return parse_duration(value, limit=_MAX_DIGEST_INTERVAL)


class DigestSection(Section):
    """The limit of single messages to one recipient; excess messages become one digest."""

    threshold: Annotated[int, number(1, 10000, "messages", whole=True)] = Field(
        5,
        validation_alias=AliasChoices("threshold", "above"),
        description="how many single messages one recipient gets within `digest.window`; further ones are collected; "
        "also spelled `above`",
    )
    window: Duration = Field(
        60.0,
        validation_alias=AliasChoices("window", "within"),
        description="the time in which messages are counted; also spelled `within`",
    )
    interval: Annotated[float, BeforeValidator(_digest_interval)] = Field(
        600.0,
        validation_alias=AliasChoices("interval", "every"),
        description="the time after which collected messages are sent as one digest, at most `7d`; also spelled "
        "`every`",
    )
    include_high: Flag = Field(
        False, description="whether events of high severity are collected, too: for array jobs with many failures"
    )


def _durations(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


Durations = Annotated[tuple[Duration, ...], BeforeValidator(_durations)]


class Reminders(Section):
    """Reminders about jobs, after one period or several."""

    job_waiting: Durations = Field(
        (),
        description="when the owner is reminded of a job that waits for review: `24h`, or `[24h, 72h]`; unset: never",
    )
    job_long_running: Durations = Field(
        (), description="when the owner is reminded of a job that is still running; unset: never"
    )
    to: People = Field((), description="recipients: roles, addresses, channels; unset: by the routes")
