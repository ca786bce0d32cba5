"""Which events a route applies to."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import Any

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import ASKED_BY_CONFIG, Event


def literal(text: str) -> str:
    """The pattern that matches only `text`."""
    return re.sub(r"[*?[]", r"[\g<0>]", text)


def literal_text(pattern: str) -> str:
    """The text of a pattern of `literal`; other patterns stay as they are."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


def is_requested_by(event: Event, requester: str) -> bool:
    """Whether `requester` set the threshold that a reminder is about; True for events other than reminders."""
    requesters = event.routing.get("asked_by")
    return not isinstance(requesters, list) or requester in requesters


@dataclass(frozen=True, slots=True)
class Match:
    """A condition on events: each key that is set must match, by any of its patterns. Letter case is ignored."""

    submitter: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    excluding: Match | None = None  # a condition that must not match

    def matches(self, event: Event) -> bool:
        return all(
            not patterns or any(is_like(value, pattern) for value in values for pattern in patterns)
            for patterns, values in (
                (self.submitter, submitters_of(event)),
                (self.owner, () if event.emitted else texts(event.payload.get("owner"))),
                (self.job, (*texts(event.payload.get("name")), event.entity)),
                (self.tags, texts(event.routing.get("tags"))),
                (self.severity, (event.severity.value,)),
            )
        ) and not (self.excluding is not None and self.excluding.matches(event))


@dataclass(frozen=True, slots=True)
class Route:
    """A routing rule: which events go to which recipients."""

    name: str  # the path of the rule in the configuration, such as `routes[0]`
    kinds: frozenset[EventKind] | None = None  # None: every kind
    match: Match = field(default_factory=Match)
    to: tuple[str, ...] = ()  # roles and recipients; empty: the default recipients of the transport
    transport: str = ""  # empty: by the address type of each recipient
    continue_: bool = False  # whether later routes are evaluated, too
    requested_by: str = ASKED_BY_CONFIG  # reminders are sent only if this source set their threshold
    long_run_seconds: float = 0.0  # its own threshold for long runs; 0: none

    def matches(self, event: Event) -> bool:
        is_requested = is_requested_by(event, self.requested_by)
        return is_requested and (self.kinds is None or event.kind in self.kinds) and self.match.matches(event)


def submitters_of(event: Event) -> tuple[str, ...]:
    """The submitter of the event's job, the peer of its request; of an emitted event, its `user`."""
    if event.emitted:
        return texts(event.routing.get("user"))
    return texts(event.payload.get("submitter") or event.payload.get("claimed"))


def texts(value: Any) -> tuple[str, ...]:
    """A value or list of values from outside as texts; empty and nested values are left out."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(str(each) for each in values if isinstance(each, (str, int, float)) and each != "")


def is_like(value: str, pattern: str) -> bool:
    value, pattern = value.casefold(), pattern.casefold()
    # Compared as well, because a name may contain a bracket, which is special in a pattern.
    return value == pattern or fnmatch.fnmatchcase(value, pattern)
