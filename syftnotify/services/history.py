"""The history of notifications: search, the explanation of an entity's events, and pruning."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.history import EventRecord, NotificationRecord
from syftnotify.core.kinds import EventKind, parse_kind
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import escape, local_time
from syftnotify.services.arguments import UsageError, parse_time
from syftnotify.services.settings import load_reporting_all
from syftnotify.system.paths import Home

_CHUNK_EVENTS = 1000  # events deleted in one transaction, which blocks all other writers
# Between two transactions. Measured with 100,000 events: other writers wait at most 0.05 s, without the pause 1.3 s.
_PAUSE_SECONDS = 0.05
_PEER_PREFIX = "peer/"  # of the entities of peers


class NotifiedLedger(Protocol):
    """The part of the ledger that these services use."""

    def notified_kinds(self, name: str) -> dict[str, list[EventKind]]:
        """The kinds recorded as notified, by entity: of the entity `name`, or of all jobs of that name."""

    def baselines(self) -> dict[str, str]:
        """The end of each baseline scan as ISO time, by what was scanned: `jobs <owner>`, `peers <owner>`."""

    def owed(self) -> dict[str, list[str]]:
        """The events with unfinished notifications, by entity."""

    def refresh(self) -> None:
        """Read what other processes wrote."""


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Conditions for notifications; all that are set must hold."""

    states: tuple[NotificationState, ...] = ()
    kinds: tuple[EventKind, ...] = ()
    about: str = ""  # an entity, or the name of a job
    recipient: str = ""
    transport: str = ""
    since: float | None = None  # seconds since 1970, compared with the time of detection
    limit: int | None = None

    @property
    def has_conditions(self) -> bool:
        return bool(
            self.states or self.kinds or self.about or self.recipient or self.transport or self.since is not None
        )


def parse_filter(
    *,
    states: Collection[str] = (),
    kinds: Collection[str] = (),
    about: str = "",
    recipient: str = "",
    transport: str = "",
    since: str | None = None,
    limit: int = 0,
) -> HistoryFilter:
    """The filter for these texts; `limit` 0 is no limit.

    Raises:
        ConfigError: there is no such state.
        UnknownKindError: there is no such kind.
        UsageError: `since` is not a time.
    """
    earliest = parse_time(since) if since is not None else None
    parsed_kinds = tuple(parse_kind(kind) for kind in kinds)
    return HistoryFilter(
        tuple(_parse_state(state) for state in states),
        parsed_kinds,
        about,
        recipient,
        transport,
        earliest,
        limit or None,
    )


def _parse_state(text: str) -> NotificationState:
    try:
        return NotificationState(text)
    except ValueError:
        raise ConfigError(
            f"{escape(text)!r} is not a state", hint=f"use one of {', '.join(NotificationState)}"
        ) from None


def find_notifications(outbox: OutboxStore, conditions: HistoryFilter) -> list[NotificationRecord]:
    """The latest notifications that match, oldest first."""
    return find_latest(outbox, conditions)[::-1]


def find_latest(outbox: OutboxStore, conditions: HistoryFilter, *, before: str = "") -> list[NotificationRecord]:
    """The latest notifications that match, newest first; `before` is the id of one: only earlier ones."""
    return outbox.history.notifications(
        states=[state.value for state in conditions.states],
        kinds=[kind.value for kind in conditions.kinds],
        about=conditions.about,
        recipient=conditions.recipient,
        transport=conditions.transport,
        since=conditions.since,
        before=before,
        limit=conditions.limit,
    )


@dataclass(frozen=True, slots=True)
class BaselineEvent:
    """An event that a baseline scan recorded as notified without a notification."""

    entity: str
    kind: EventKind
    scanned_at: str  # ISO time of the end of the baseline scan


@dataclass(frozen=True, slots=True)
class EventExplanation:
    """An event and its notifications, oldest first."""

    event: EventRecord
    notifications: tuple[NotificationRecord, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened to an entity, or to all jobs of a name, and who was notified."""

    baseline: tuple[BaselineEvent, ...]
    events: tuple[EventExplanation, ...]

    @property
    def entities(self) -> list[str]:
        found = [*(each.entity for each in self.baseline), *(each.event.entity for each in self.events)]
        return list(dict.fromkeys(found))


def explain(outbox: OutboxStore, ledger: NotifiedLedger | None, about: str, *, limit: int | None = None) -> Explanation:
    """The events of `about`, an entity or the name of a job, at most `limit`, the latest.

    `ledger` is None if it is damaged.

    Raises:
        NotifyError: nothing is recorded about it.
    """
    events = outbox.history.events(about, limit=limit)
    notifications: dict[str, list[NotificationRecord]] = {}
    since = events[0].noticed_at if limit is not None and len(events) == limit else None
    for record in find_notifications(outbox, HistoryFilter(about=about, since=since)):
        notifications.setdefault(record.event_key, []).append(record)
    baseline = tuple(_baseline_events(ledger, about, events)) if ledger is not None else ()
    if not events and not baseline:
        raise NotifyError(
            f"no event of {escape(about)!r} is recorded",
            hint="run `notify history` for the recorded ones; name a job by its folder or its entity id",
        )
    return Explanation(
        baseline, tuple(EventExplanation(event, tuple(notifications.get(event.key, ()))) for event in events)
    )


def _baseline_events(ledger: NotifiedLedger, about: str, events: Sequence[EventRecord]) -> Iterator[BaselineEvent]:
    """The events that the ledger records as notified and the outbox does not contain.

    If there were several baseline scans of jobs, or of peers, the earliest one counts.
    """
    detected = {(event.entity, event.kind) for event in events}
    baselines = ledger.baselines()
    for entity, kinds in ledger.notified_kinds(about).items():
        scope = "peers " if entity.startswith(_PEER_PREFIX) else "jobs "
        scanned_at = min((at for name, at in baselines.items() if name.startswith(scope)), default="")
        for kind in kinds:
            if scanned_at and (entity, kind.value) not in detected:
                yield BaselineEvent(entity, kind, scanned_at)


def prune_limit(home: Home, older_than: str | None) -> float:
    """The time before which history is pruned: `older_than`, or by default the configured `retention`.

    Raises:
        ConfigError: neither is set, or the configuration has mistakes.
        UsageError: `older_than` is not a time, or is in the future.
    """
    if older_than is None:
        retention = load_reporting_all(home).config.retention
        if retention is None:
            raise ConfigError("the history is kept without limit", hint="pass `--older-than 365d`, or set `retention`")
        return time.time() - retention
    before = parse_time(older_than)
    if before > time.time():
        raise UsageError(
            f"--older-than: {local_time(before)} is in the future", hint="pass a past time: 26w, 365d or 2026-01-15"
        )
    return before


def count_prunable(outbox: OutboxStore, ledger: NotifiedLedger, before: float) -> int:
    """The number of events that `prune` would delete."""
    return outbox.history.prune(before, time.time(), exempt=ledger.owed(), dry_run=True)


def prune(outbox: OutboxStore, ledger: NotifiedLedger, before: float) -> int:
    """Delete the events detected before a time; returns how many.

    Events with unfinished notifications are kept. It runs in chunks, so that a worker can write in between.
    """
    total = 0
    while True:
        ledger.refresh()
        count = outbox.history.prune(before, time.time(), exempt=ledger.owed(), limit=_CHUNK_EVENTS)
        total += count
        if count < _CHUNK_EVENTS:
            return total
        time.sleep(_PAUSE_SECONDS)  # a worker that waits for the database can write
