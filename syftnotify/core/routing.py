"""Who must hear, through what, and why? Pure: events in, notifications out, each with the route that decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import JOB_KINDS, ROLES, WORKER_KINDS, Audience, EventKind, find_kind
from syftnotify.core.matching import Match, Route, is_requested_by, submitters_of, texts
from syftnotify.core.models import ASKED_BY_JOB, MAIL, AlertRule, Event, Notification

# The source of what an unverified submitter caused. It is one for all of them: the names are the sender's choice, and
# each would have a share of its own. No address equals it.
UNVERIFIED_SOURCE = "-"
UNVERIFIED = "unverified: no peer record of this address; add the peer, or name it in `recipients.allow`"


@dataclass(frozen=True, slots=True)
class TransportInfo:
    """A transport as routing sees it."""

    name: str
    form: AddressType
    default: tuple[str, ...] = ()  # who gets what names nobody
    has_default: bool = False  # whether the configuration says so

    @property
    def medium(self) -> str:
        """What makes two ways the same to a recipient: an address is one mailbox, a channel one of its workspace's."""
        return MAIL if self.form is AddressType.MAIL else f"{self.form}/{self.name}"


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """The recipients behind the roles, and who may be mailed.

    `peers` are those the owner added. `allows` tests an address against `recipients.allow`. `is_known` tells of an
    address in the tree whether a peer record, the owner's client or the configuration confirms it.
    """

    owner: str
    operators: tuple[str, ...]
    transport: str  # what carries mail unless a route says otherwise
    peers: frozenset[str]
    allows: Callable[[str], bool]
    routes: tuple[Route, ...] | None = None  # None: the built-in ones
    ways: Mapping[str, TransportInfo] = field(default_factory=dict)
    alerts: tuple[AlertRule, ...] = ()  # asked before the routes
    is_known: Callable[[str], bool] = lambda _address: True
    configured: frozenset[str] = frozenset()  # addresses that the configuration names as recipients, in small letters

    @property
    def mail(self) -> TransportInfo:
        """The way that carries mail when no route names one."""
        return self.ways.get(self.transport) or TransportInfo(self.transport, AddressType.MAIL)

    def way_to(self, recipient: str) -> TransportInfo:
        """The way that carries to `recipient`, which is no role, when no route names one; without a name: none does."""
        form = address_type_of(recipient)
        if form is AddressType.MAIL:
            return self.mail
        if form is AddressType.SLACK:
            return next((way for way in self.ways.values() if way.form is form), TransportInfo("", form))
        way = self.ways.get(recipient)
        return way if way is not None and way.form is form else TransportInfo("", form)


def built_in_routes(*, for_scientist: bool = False) -> tuple[Route, ...]:
    """The table of who is told what, as rules.

    A scientist's own worker tells the scientist what a submitter hears, and what the owner would hear of reminders.
    """
    table = {
        audience: frozenset(kind for kind in EventKind if audience in kind.spec.audiences)
        for audience in ROLES.values()
    }
    if for_scientist:
        table[Audience.SUBMITTER] |= {EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING}
        table[Audience.OWNER] &= WORKER_KINDS
    return tuple(
        Route(f"built-in: {audience}", kinds, to=(audience.value,), goes_on=True) for audience, kinds in table.items()
    )


_BUILT_IN_ROUTES = built_in_routes()


def notifications_for(
    events: Iterable[Event], reach: RoutingContext, *, catches_up: bool = False, transport: str = ""
) -> list[Notification]:
    """What is owed for `events`: one for each recipient and medium, none twice.

    The catch-up of a first look leaves out submitters, whom a job names, and programs; `transport` carries mail if it
    is given.
    """
    if transport:
        # First of all by that way, whatever the routes say: another one may be what the trouble is about.
        reach = replace(reach, transport=transport, routes=(*_BUILT_IN_ROUTES, *(reach.routes or ())))
    owed: dict[str, Notification] = {}
    for event in events:
        for notification in _of_event(event, reach):
            if not catches_up or _hears_the_past(notification):
                known = owed.get(notification.id)
                if known is None or (known.skipped and not notification.skipped):
                    owed[notification.id] = notification
    return list(owed.values())


def _hears_the_past(notification: Notification) -> bool:
    is_ours = notification.audience in {Audience.OWNER, Audience.RECIPIENT}
    return is_ours and not notification.medium.startswith(AddressType.WEBHOOK)


def matching_routes(event: Event, reach: RoutingContext) -> list[Route]:
    """The rules that decide about `event`, in order."""
    found = []
    for route in (*map(route_of, reach.alerts), *(_BUILT_IN_ROUTES if reach.routes is None else reach.routes)):
        if route.takes(event):
            found.append(route)
            if not route.goes_on:
                break
    return found


def route_of(rule: AlertRule) -> Route:
    """An alert rule as a route: `on_failure` is about failures alone, for a time-out has a word of its own."""
    minutes = rule.on_long_run_minutes
    wanted = {
        EventKind.JOB_FAILED: rule.on_failure,
        EventKind.JOB_TIMEOUT: rule.on_timeout,
        EventKind.JOB_COMPLETED: rule.on_success,
        EventKind.JOB_LONG_RUNNING: minutes is not None,
    }
    name = f"alert {rule.id}"
    return Route(
        name,
        frozenset(kind for kind, is_wanted in wanted.items() if is_wanted),
        Match(job=(rule.job,) if rule.job else (), tags=(rule.tag,) if rule.tag else ()),
        (rule.endpoint,),
        "" if is_address(rule.target) else rule.endpoint,
        goes_on=True,
        asks=name,
        after=(minutes or 0.0) * 60.0,
    )


def long_runs(event: Event, reach: RoutingContext) -> list[tuple[str, float]]:
    """Who wants to know of a job that runs on, and after how many seconds; `event` says what job it is."""
    routes = map(route_of, reach.alerts)
    return [(route.asks, route.after) for route in routes if route.after and route.match.fits(event)]


def _of_event(event: Event, reach: RoutingContext) -> Iterator[Notification]:
    found = [item for route in matching_routes(event, reach) for item in _by_route(event, route, reach)]
    if event.kind in WORKER_KINDS and all(item.skipped for item in found):
        routes = [route for route in _BUILT_IN_ROUTES if route.takes(event)]
        if not reach.transport:
            routes = [Route("built-in: without mail", via=name) for name in list(reach.ways)[:1]]
        found += [item for route in routes for item in _by_route(event, route, reach)]
    yield from found
    yield from _wishes(event, reach)


def _by_route(event: Event, route: Route, reach: RoutingContext) -> Iterator[Notification]:
    for recipient, audience, way, refusal in _recipients(event, route, reach):
        yield _notification(event, recipient, audience, way, route.name, refusal, reach)


def _notification(
    event: Event,
    recipient: str,
    audience: Audience,
    way: TransportInfo,
    route: str,
    refusal: str,
    reach: RoutingContext,
) -> Notification:
    # Channels and endpoints come from the configuration alone.
    is_known = way.form is not AddressType.MAIL or not is_named_by_tree(event, audience) or reach.is_known(recipient)
    return Notification(
        event_key=event.key,
        entity=event.entity,
        recipient=recipient.lower() if way.form is AddressType.MAIL or recipient[:1] in {"#", "@"} else recipient,
        audience=audience,
        transport=way.name,
        medium=way.medium,
        route=route,
        skipped=refusal or ("" if way.name else f"no transport carries to {recipient}"),
        withheld="" if is_known else UNVERIFIED,
        source=source_of(event),
    )


def is_named_by_tree(event: Event, audience: Audience) -> bool:
    """Whether the recipient comes from the tree, and not from the configuration or an emitter."""
    return audience in {Audience.SUBMITTER, Audience.GUEST} and not event.emitted


def is_unverified(event: Event, reach: RoutingContext) -> bool:
    """Whether the submitter in a job's path is confirmed by nothing else."""
    submitter = str(event.payload.get("submitter") or "")
    return is_named_by_tree(event, Audience.SUBMITTER) and bool(submitter) and not reach.is_known(submitter)


def source_of(event: Event) -> str:
    """Who caused `event`: the submitter or peer, the user of an emitted event; empty for the worker's own events."""
    if event.emitted:
        return str(event.routing.get("user") or "")
    if event.kind is EventKind.PEER_REQUESTED:  # anybody can ask, under any address
        return UNVERIFIED_SOURCE
    submitter = str(event.payload.get("submitter") or "").lower()
    is_of_tree = "layout" in event.payload
    return UNVERIFIED_SOURCE if event.payload.get("unverified") or (is_of_tree and not submitter) else submitter


# G23: of whom a job names without saying what for.
_WISHED = frozenset({EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT, EventKind.JOB_CANCELLED})
_ASKED = "the job asks for this; recipients.allow would let it pass"


def _wishes(event: Event, reach: RoutingContext) -> Iterator[Notification]:
    """Whom the job itself names. An emitted event is its operator's word; a scientist's is only a wish."""
    if _is_unreadable(event):
        return
    notify, alerts = event.routing.get("notify"), event.routing.get("alerts")
    if isinstance(notify, dict) and event.kind in _kinds_of(notify.get("on")):
        for word in texts(notify.get("emails")):
            if address_type_of(word) is AddressType.MAIL:  # G24
                yield _wish(event, word, "the job's notify", reach)
    if isinstance(alerts, dict) and _is_alert(event, alerts) and is_requested_by(event, ASKED_BY_JOB):
        words = texts(alerts.get("recipients"))
        for word in words:
            yield _wish(event, word, "the job's alerts", reach)
        if not words:  # N17
            for way in _unnamed(reach):
                yield from _by_route(event, Route("the job's alerts", via=way.name), reach)


def _unnamed(reach: RoutingContext) -> list[TransportInfo]:
    """What carries to whom nobody names: what has a default of its own, or else mail, or else what there is."""
    named = [way for way in reach.ways.values() if way.has_default]
    return named or ([reach.mail] if reach.transport else list(reach.ways.values()))


def _is_alert(event: Event, alerts: Mapping[str, Any]) -> bool:
    """Whether a job's alerts block is about `event` (N12-N14); failing covers running out of time."""
    wanted = {
        EventKind.JOB_FAILED: alerts.get("on_failure", True),
        EventKind.JOB_TIMEOUT: alerts.get("on_failure", True),
        EventKind.JOB_COMPLETED: alerts.get("on_success"),
        EventKind.JOB_LONG_RUNNING: alerts.get("on_long_run_minutes"),
    }
    return bool(wanted.get(event.kind))


def _wish(event: Event, word: str, name: str, reach: RoutingContext) -> Notification:
    way = reach.way_to(word)
    submitter = str(event.payload.get("submitter") or "")
    is_own = address_type_of(word) is AddressType.MAIL and is_address(submitter) and word.lower() == submitter.lower()
    may = event.emitted or is_own or reach.allows(word)
    return _notification(event, word, Audience.GUEST, way, name, "" if may else _ASKED, reach)


def _kinds_of(words: Any) -> frozenset[EventKind]:
    """The kinds that a job names, as far as there are such of jobs; unset: the usual four."""
    found = {kind for word in texts(words) if (kind := find_kind(word)) is not None}
    return frozenset(found & JOB_KINDS) if texts(words) else _WISHED


def _recipients(
    event: Event, route: Route, reach: RoutingContext
) -> Iterator[tuple[str, Audience, TransportInfo, str]]:
    """Who a rule tells: the recipient, in which role, by which way, and why not (empty: it is told)."""
    named = reach.ways.get(route.via)
    way = named or reach.mail
    for word in route.to or way.default:
        if word in ROLES and way.form is AddressType.MAIL:
            for recipient, refusal in _in_role(event, ROLES[word], reach):
                yield recipient, ROLES[word], way, refusal
        elif word in ROLES:  # people have no address there
            yield from ((recipient, ROLES[word], way, "") for recipient in way.default)
        else:
            audience = Audience.OWNER if word.lower() == reach.owner.lower() else Audience.RECIPIENT
            yield word, audience, named or reach.way_to(word), ""


def _in_role(event: Event, audience: Audience, reach: RoutingContext) -> list[tuple[str, str]]:
    """Pairs of an address and why it is not told (empty: it is)."""
    if audience is Audience.OWNER:
        return [(reach.owner, "")]
    if audience is Audience.OPERATOR:
        return [(address, "") for address in reach.operators]
    if event.emitted:
        return [(user, "") for user in submitters_of(event) if is_address(user)]
    payload = event.payload
    if _is_unreadable(event):
        return []
    submitter = str(payload.get("submitter") or "")
    if submitter:
        return [(submitter, "" if is_address(submitter) else "the folder's name is no mail address")]
    claimed = str(payload.get("claimed") or "")
    if not is_address(claimed):
        return []  # nobody is named, so nobody is left out
    if claimed.lower() in reach.peers or reach.allows(claimed):
        return [(claimed, "")]
    return [(claimed, "only the job's own config.yaml names this address; recipients.allow would let it pass")]


def _is_unreadable(event: Event) -> bool:
    """Whether it is about a job of the tree that cannot be read: only the owner's configuration names who gets it."""
    return bool(event.payload.get("unreadable")) and not event.emitted
