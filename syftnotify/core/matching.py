"""Which events a route applies to."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import ASKED_BY_CONFIG, Event


def is_requested_by(event: Event, who: str) -> bool:
    """Whether a reminder is about a limit that `who` set; any other event is everybody's."""
    asked_by = event.routing.get("asked_by")
    return not isinstance(asked_by, list) or who in asked_by


@dataclass(frozen=True, slots=True)
class Match:
    """What an event must be like: each key that is set must match, by any one of its patterns."""

    submitter: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    excluding: Match | None = None  # what it must not be like

    def fits(self, event: Event) -> bool:
        """Whether `event` is like that; letter case does not matter."""
        return all(
            not patterns or any(_like(value, pattern) for value in values for pattern in patterns)
            for patterns, values in (
                (self.submitter, submitters_of(event)),
                (self.owner, () if event.emitted else texts(event.payload.get("owner"))),
                (self.job, (*texts(event.payload.get("name")), event.entity)),
                (self.tags, texts(event.routing.get("tags"))),
                (self.severity, (event.severity.value,)),
            )
        ) and not (self.excluding is not None and self.excluding.fits(event))


@dataclass(frozen=True, slots=True)
class Route:
    """One rule. `to` holds roles and recipients; empty means whom the transport serves by default."""

    name: str  # as a person finds it in the configuration
    kinds: frozenset[EventKind] | None = None  # None: every kind
    match: Match = field(default_factory=Match)
    to: tuple[str, ...] = ()
    via: str = ""  # a transport; empty: by the form of each recipient
    goes_on: bool = False  # whether the routes behind it are asked, too
    asks: str = ASKED_BY_CONFIG  # who set the limits of whose reminders it tells
    after: float = 0.0  # its own limit for a run that goes on, in seconds; 0: none

    def takes(self, event: Event) -> bool:
        """Whether this rule is about `event`."""
        is_meant = is_requested_by(event, self.asks)
        return is_meant and (self.kinds is None or event.kind in self.kinds) and self.match.fits(event)


def submitters_of(event: Event) -> tuple[str, ...]:
    """Whose the event's job, peer request or reservation is; of an emitted event, the `user` that its options name."""
    if event.emitted:
        return texts(event.routing.get("user"))
    return texts(event.payload.get("submitter") or event.payload.get("claimed"))


def texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(str(each) for each in values if isinstance(each, (str, int, float)) and each != "")


def _like(value: str, pattern: str) -> bool:
    value, pattern = value.casefold(), pattern.casefold()
    return value == pattern or fnmatch.fnmatchcase(value, pattern)  # a name may hold a bracket
