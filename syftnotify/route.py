"""Who must hear, through what, and why? Pure: events in, notifications out, each with the route that decided."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.errors import UnknownKindError
from syftnotify.model import (
    MAIL,
    OF_JOBS,
    ROLES,
    Audience,
    Event,
    Form,
    Kind,
    Notification,
    digest_of,
    form_of,
    is_address,
    parse_kind,
)

# Who is told what by default on the data owner's machine. A kind that is not here is told to nobody.
BUILT_IN: dict[Kind, tuple[Audience, ...]] = {
    Kind.JOB_SUBMITTED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_APPROVED: (Audience.SUBMITTER,),
    Kind.JOB_REJECTED: (Audience.SUBMITTER,),
    Kind.JOB_COMPLETED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_FAILED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_TIMEOUT: (Audience.OWNER, Audience.SUBMITTER),
    Kind.JOB_LONG_RUNNING: (Audience.OWNER,),
    Kind.JOB_WAITING: (Audience.OWNER,),
    Kind.PEER_REQUESTED: (Audience.OWNER, Audience.SUBMITTER),
    Kind.PEER_GRANTED: (Audience.SUBMITTER,),
    Kind.SYSTEM_ALERT: (Audience.OWNER, Audience.OPERATOR),
    Kind.HEARTBEAT: (Audience.OWNER,),
}
# The worker's own words: what no route of the configuration takes goes the built-in way, for silence about trouble is
# what nobody can have meant.
OWN_KINDS = frozenset({Kind.SYSTEM_ALERT, Kind.HEARTBEAT, Kind.TEST})

# After time off, or when many things happened at once while nobody looked: more than so many become one message.
BUNDLE_ABOVE = 5


@dataclass(frozen=True, slots=True)
class Way:
    """A transport as routing sees it."""

    name: str
    form: Form
    default: tuple[str, ...] = ()  # who gets what names nobody

    @property
    def medium(self) -> str:
        """What makes two ways the same to a recipient: an address is one mailbox, a channel one of its workspace's."""
        return MAIL if self.form is Form.MAIL else f"{self.form}/{self.name}"


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
                (self.owner, _texts(event.payload.get("owner"))),
                (self.job, _texts(event.payload.get("name"))),
                (self.tags, _texts(event.payload.get("tags"))),
                (self.severity, (event.severity.value,)),
            )
        ) and not (self.excluding is not None and self.excluding.fits(event))


@dataclass(frozen=True, slots=True)
class Route:
    """One rule. `to` holds roles and recipients; empty means whom the transport serves by default."""

    name: str  # as a person finds it in the configuration
    kinds: frozenset[Kind] | None = None  # None: every kind
    match: Match = field(default_factory=Match)
    to: tuple[str, ...] = ()
    via: str = ""  # a transport; empty: by the form of each recipient
    goes_on: bool = False  # whether the routes behind it are asked, too

    def takes(self, event: Event) -> bool:
        """Whether this rule is about `event`."""
        return (self.kinds is None or event.kind in self.kinds) and self.match.fits(event)


@dataclass(frozen=True, slots=True)
class Reach:
    """Who stands behind the roles, and who may be told.

    `allows` says whether the owner's configuration lets somebody be told whom no path vouches for.
    """

    owner: str
    operators: tuple[str, ...]
    transport: str  # what carries mail unless a route says otherwise
    peers: frozenset[str]
    allows: Callable[[str], bool]
    routes: tuple[Route, ...] | None = None  # None: the built-in ones
    ways: Mapping[str, Way] = field(default_factory=dict)

    @property
    def mail(self) -> Way:
        """The way that carries mail when no route names one."""
        return self.ways.get(self.transport) or Way(self.transport, Form.MAIL)

    def way_to(self, recipient: str) -> Way | None:
        """The way that carries to `recipient`, which is no role, when no route names one."""
        form = form_of(recipient)
        if form is Form.MAIL:
            return self.mail
        if form is Form.SLACK:
            return next((way for way in self.ways.values() if way.form is form), None)
        way = self.ways.get(recipient)
        return way if way is not None and way.form is form else None


def built_in_routes() -> tuple[Route, ...]:
    """The table of who is told what, as rules."""
    return tuple(
        Route(
            f"built-in: {audience}",
            frozenset(kind for kind, audiences in BUILT_IN.items() if audience in audiences),
            to=(audience.value,),
            goes_on=True,
        )
        for audience in ROLES.values()
    )


_BUILT_IN_ROUTES = built_in_routes()


def notifications_for(
    events: Iterable[Event], reach: Reach, *, only_owner: bool = False, transport: str = ""
) -> list[Notification]:
    """What is owed for `events`: one for each recipient and medium, none twice.

    `only_owner` leaves out everybody else (the catch-up of a first look); `transport` carries mail if it is given.
    """
    if transport:
        reach = replace(reach, transport=transport)
    owed: dict[str, Notification] = {}
    for event in events:
        for notification in _of_event(event, reach):
            if not only_owner or notification.audience is Audience.OWNER:
                known = owed.get(notification.id)
                if known is None or (known.skipped and not notification.skipped):
                    owed[notification.id] = notification
    return list(owed.values())


def deciding(event: Event, reach: Reach) -> list[Route]:
    """The rules that decide about `event`, in order."""
    found = []
    for route in _BUILT_IN_ROUTES if reach.routes is None else reach.routes:
        if route.takes(event):
            found.append(route)
            if not route.goes_on:
                break
    if not found and event.kind in OWN_KINDS:
        found = [route for route in _BUILT_IN_ROUTES if route.takes(event)]
    return found


def _of_event(event: Event, reach: Reach) -> Iterator[Notification]:
    for route in deciding(event, reach):
        for recipient, audience, way, refusal in _recipients(event, route, reach):
            yield Notification(
                event_key=event.key,
                entity=event.entity,
                recipient=recipient.lower() if way.form is Form.MAIL else recipient,
                audience=audience,
                transport=way.name,
                medium=way.medium,
                route=route.name,
                skipped=refusal,
            )
    yield from _wishes(event, reach)


# G23: of whom a job names without saying what for.
_WISHED = frozenset({Kind.JOB_COMPLETED, Kind.JOB_FAILED, Kind.JOB_TIMEOUT, Kind.JOB_CANCELLED})
_ASKED = "the job asks for this; recipients.allow would let it pass"


def _wishes(event: Event, reach: Reach) -> Iterator[Notification]:
    """Whom the job itself names. An emitted event is its operator's word; a scientist's is only a wish."""
    for word, name in _wished(event):
        way = reach.way_to(word)
        may = bool(event.payload.get("emitted")) or word == event.payload.get("submitter") or reach.allows(word)
        refusal = "" if may else _ASKED
        yield Notification(
            event_key=event.key,
            entity=event.entity,
            recipient=word.lower() if form_of(word) is Form.MAIL else word,
            audience=Audience.GUEST,
            transport=(way or reach.mail).name,
            medium=(way or reach.mail).medium,
            route=name,
            skipped=refusal or ("" if way else f"no transport carries to {word}"),
        )


def _wished(event: Event) -> Iterator[tuple[str, str]]:
    """Pairs of a recipient and where the job names it."""
    notify, alerts = event.payload.get("notify"), event.payload.get("alerts")
    if isinstance(notify, dict) and event.kind in _kinds_of(notify.get("on")):
        # G24: by mail alone.
        yield from ((word, "the job's notify") for word in _texts(notify.get("emails")) if form_of(word) is Form.MAIL)
    if isinstance(alerts, dict):
        wanted = {
            Kind.JOB_FAILED: alerts.get("on_failure"),
            Kind.JOB_TIMEOUT: alerts.get("on_failure"),
            Kind.JOB_COMPLETED: alerts.get("on_success"),
            Kind.JOB_LONG_RUNNING: alerts.get("on_long_run_minutes"),
        }
        if wanted.get(event.kind):
            yield from ((word, "the job's alerts") for word in _texts(alerts.get("recipients")))


def _kinds_of(words: Any) -> frozenset[Kind]:
    """The kinds that a job names, as far as there are such of jobs; unset: the usual four."""
    found = set()
    for word in _texts(words):
        with contextlib.suppress(UnknownKindError):
            found.add(parse_kind(word))
    return frozenset(found & OF_JOBS) if _texts(words) else _WISHED


def _recipients(event: Event, route: Route, reach: Reach) -> Iterator[tuple[str, Audience, Way, str]]:
    """Who a rule tells: the recipient, in which role, by which way, and why not (empty: it is told)."""
    named = reach.ways.get(route.via)
    way = named or reach.mail
    for word in route.to or way.default:
        if word in ROLES:
            for recipient, refusal in _in_role(event, ROLES[word], reach):
                yield recipient, ROLES[word], way, refusal
        elif found := named or reach.way_to(word):
            yield word, Audience.RECIPIENT, found, ""


def _in_role(event: Event, audience: Audience, reach: Reach) -> list[tuple[str, str]]:
    """Pairs of an address and why it is not told (empty: it is)."""
    if audience is Audience.OWNER:
        return [(reach.owner, "")]
    if audience is Audience.OPERATOR:
        return [(address, "") for address in reach.operators]
    submitter = str(event.payload.get("submitter") or "")
    if submitter:
        return [(submitter, "" if is_address(submitter) else "the folder's name is no mail address")]
    claimed = str(event.payload.get("claimed") or "")
    if not is_address(claimed):
        return []  # nobody is named, so nobody is left out
    if claimed.lower() in reach.peers or reach.allows(claimed):
        return [(claimed, "")]
    return [(claimed, "only the job's own config.yaml names this address; recipients.allow would let it pass")]


def submitters_of(event: Event) -> tuple[str, ...]:
    """Whose the event's job, peer request or reservation is."""
    return _texts(event.payload.get("submitter") or event.payload.get("claimed") or event.payload.get("user"))


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(str(each) for each in values if each not in {None, ""})


def _like(value: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(value.casefold(), pattern.casefold())


def bundled(
    notifications: Sequence[Notification], *, always: bool = False, above: int = BUNDLE_ABOVE
) -> list[Notification]:
    """The same notifications; those of a recipient who would get more than `above` leave as one message.

    `always` bundles even a single one (the catch-up of a first look is a digest whatever its size). What a program
    reads is never bundled.
    """
    by_recipient: dict[tuple[str, str], list[Notification]] = {}
    for notification in notifications:
        if not notification.skipped and not notification.medium.startswith(Form.WEBHOOK):
            by_recipient.setdefault((notification.recipient, notification.transport), []).append(notification)
    names = {
        recipient: "bundle-" + digest_of(*(item.id for item in items))
        for recipient, items in by_recipient.items()
        if always or len(items) > above
    }
    return [
        item
        if item.skipped or item.medium.startswith(Form.WEBHOOK)
        else replace(item, bundle=names.get((item.recipient, item.transport), ""))
        for item in notifications
    ]
