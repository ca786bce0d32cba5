"""Silences: add, list and expire, and what they have suppressed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from syftnotify.config.values import parse_duration, valid_glob
from syftnotify.core.errors import ConfigError, ConflictError
from syftnotify.core.history import NotificationRecord
from syftnotify.core.kinds import Severity, parse_kind
from syftnotify.core.matching import Match, literal, literal_text
from syftnotify.core.models import Event
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.silences import Silence, SilenceState, is_change
from syftnotify.core.text import escape, listed
from syftnotify.services.arguments import UsageError, by_id_prefix, parse_upcoming
from syftnotify.sources.spool import request_scan
from syftnotify.system.paths import Home

_ID_DIGITS = 12
_MAX_SECONDS = 200 * 366 * 86400.0  # calendars end with the year 9999
_MAX_TEXT = 500  # characters of a reason


@dataclass(frozen=True, slots=True)
class SilenceOptions:
    """A silence as a user enters it: conditions like those of a route, and one of `duration`, `until` and a change."""

    author: str
    reason: str = ""
    job: Sequence[str] = ()  # names, entities or patterns
    submitter: Sequence[str] = ()
    owner: Sequence[str] = ()
    tag: Sequence[str] = ()
    severity: Sequence[str] = ()
    events: Sequence[str] = ()  # kinds in any spelling; empty: every kind
    start: str = ""  # a time; empty: now
    duration: str = ""  # such as 2h
    until: str = ""  # a time
    until_change: bool = False


@dataclass(frozen=True, slots=True)
class ListedSilence:
    """A silence, its state, and the number of notifications that it has suppressed."""

    silence: Silence
    state: SilenceState
    suppressed: int


def add_silence(home: Home, outbox: OutboxStore, options: SilenceOptions) -> Silence:
    """Store a silence. A running worker applies it from its next scan on, also to what is queued.

    Raises:
        ConfigError, UnknownKindError, UsageError: an option is wrong or missing.
    """
    now = time.time()
    kinds = frozenset(parse_kind(name) for name in options.events) or None
    match = Match(
        submitter=_globs("submitter", options.submitter),
        owner=_globs("owner", options.owner),
        job=_globs("job", options.job),
        tags=_globs("tag", options.tag),
        severity=tuple(_severity(each) for each in options.severity),
    )
    if options.until_change and (changes := sorted(kind.value for kind in kinds or () if is_change(kind))):
        raise ConfigError(
            f"the event {changes[0]} is a change of the job's state, so it ends the silence and is never suppressed",
            hint="leave it out, or pass `--for` or `--until`",
        )
    if match == Match() and kinds is None:
        raise ConfigError(
            "the silence has no condition; it would suppress everything", hint="pass `--job`, for example"
        )
    if len(options.reason) > _MAX_TEXT or not options.reason.isprintable():
        raise ConfigError(f"the reason must be one line of at most {_MAX_TEXT} characters")
    starts_at = parse_upcoming(options.start, now) if options.start else now
    silence = Silence(
        uuid.uuid4().hex[:_ID_DIGITS],
        options.author,
        options.reason,
        match,
        kinds,
        starts_at,
        _ends_at(options, max(starts_at, now), now),
        now,
    )
    outbox.silences.add(silence)
    request_scan(home)
    return silence


def list_silences(outbox: OutboxStore, *, include_expired: bool = False) -> list[ListedSilence]:
    """The silences, the oldest first; by default without expired ones."""
    found = [listed_silence(outbox, silence) for silence in outbox.silences.all()]
    return [each for each in found if include_expired or each.state is not SilenceState.EXPIRED]


def listed_silence(outbox: OutboxStore, silence: Silence) -> ListedSilence:
    """A silence with its state and what it has suppressed."""
    state = silence.state(time.time())
    if state is SilenceState.ACTIVE and _has_ended_by_change(outbox, silence):
        state = SilenceState.EXPIRED
    return ListedSilence(silence, state, outbox.silences.count_suppressed(silence))


def unknown_jobs(outbox: OutboxStore, silence: Silence) -> list[str]:
    """The names in the conditions of a silence that no job with recorded events has; patterns aside."""
    names = filter(None, map(_literal_name, silence.match.job))
    return [name for name in names if not outbox.history.events(name, limit=1)]


def _literal_name(pattern: str) -> str:
    """The name that is the only one to match a pattern; empty: others may match, too."""
    name = literal_text(pattern)
    return name if literal(name) == pattern else ""


def _has_ended_by_change(outbox: OutboxStore, silence: Silence) -> bool:
    """Whether the state of the only job of a silence has changed; one of several jobs goes on for the others."""
    (*others, job) = silence.match.job or ("*",)
    name = _literal_name(job)
    if not silence.is_until_change or others or not name:
        return False
    entities = {event.entity for event in outbox.history.events(name)}
    return bool(entities) and all(outbox.silences.has_changed(each, silence.starts_at) for each in entities)


def silences_of(outbox: OutboxStore, event: Event) -> list[Silence]:
    """The silences that apply now to later events about the entity of `event`, of some kind at least."""
    now = time.time()
    return [
        each
        for each in outbox.silences.all()
        if each.state(now) is SilenceState.ACTIVE
        and each.match.matches(event)
        and not (each.is_until_change and outbox.silences.has_changed(event.entity, each.starts_at))
    ]


def suppressed(outbox: OutboxStore, silence: Silence, *, limit: int | None = None) -> list[NotificationRecord]:
    """The notifications that a silence has suppressed, newest first."""
    return outbox.history.notifications(skipped_for=silence.text, limit=limit)


def find_silence(outbox: OutboxStore | None, id_prefix: str) -> Silence:
    """The silence whose id begins with `id_prefix`. Raises: NotifyError, there is none, or several."""
    silences = outbox.silences.all() if outbox is not None else []
    return by_id_prefix(silences, id_prefix, noun="silence", command="notify silence list")


def expire_silence(outbox: OutboxStore | None, id_prefix: str) -> Silence:
    """End a silence now; returns it. What it has suppressed stays skipped.

    Raises:
        NotifyError: there is none, or several; or it has ended.
    """
    silence, now = find_silence(outbox, id_prefix), time.time()
    if silence.state(now) is SilenceState.EXPIRED:
        raise ConflictError(f"silence {silence.id} has ended")
    if outbox is not None:
        outbox.silences.expire(silence.id, now)
    return replace(silence, expired_at=now)


def _ends_at(options: SilenceOptions, starts_at: float, now: float) -> float | None:
    given = [bool(options.duration), bool(options.until), options.until_change]
    if sum(given) != 1:
        raise ConfigError(
            "the end of the silence is missing or ambiguous",
            hint="pass one of `--for 2h`, `--until TIME` and `--until-change`",
        )
    if options.until_change:
        return None
    try:
        ends_at = (
            starts_at + parse_duration(options.duration)
            if options.duration
            else parse_upcoming(options.until, starts_at)
        )
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    if ends_at - now > _MAX_SECONDS:
        raise ConfigError("the silence ends too late", hint="pass an `--until` within 200 years")
    if ends_at <= starts_at or ends_at <= now:
        raise ConfigError("the silence ends before it begins, or is over", hint="pass a later `--until`")
    return ends_at


def _globs(name: str, patterns: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(map(valid_glob, patterns))
    except ValueError as error:
        raise ConfigError(f"--{name}: {error}") from None


def _severity(text: str) -> str:
    if text not in set(Severity):
        raise ConfigError(f"{escape(text)!r} is not a severity", hint=f"use {listed(list(Severity), 'or')}")
    return text


def silence_conditions(silence: Silence) -> str:
    """The conditions of a silence as text: `job nightly-*, submitter *@uni.example; job_failed`."""
    match = silence.match
    parts = [
        f"{name} {' or '.join(map(escape, patterns))}"
        for name, patterns in (
            ("job", match.job),
            ("submitter", match.submitter),
            ("owner", match.owner),
            ("tag", match.tags),
            ("severity", match.severity),
        )
        if patterns
    ]
    kinds = [] if silence.kinds is None else sorted(kind.value for kind in silence.kinds)
    return "; ".join(filter(None, [", ".join(parts), ", ".join(kinds)]))
