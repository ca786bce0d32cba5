"""Routing: from events to notifications, each with the name of the route that caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import JOB_KINDS, ROLES, WORKER_KINDS, Audience, EventKind, find_kind
from syftnotify.core.matching import Match, Route, is_requested_by, submitters_of, texts
from syftnotify.core.models import ASKED_BY_JOB, INBOX, MAIL, AlertRule, Event, Notification

# The source of events by unverified submitters. All of them share it: they choose their names, and each name would
# have a daily share of its own. No address equals it.
UNVERIFIED_SOURCE = "-"
UNVERIFIED = "unverified: no peer record of this address; add the peer, or name it in `recipients.allow`"

DENIED = "denied by `recipients.deny`"


@dataclass(frozen=True, slots=True)
class TransportInfo:
    """The facts about a transport that routing needs."""

    name: str  # empty: no configured transport delivers to such an address
    address_type: AddressType
    medium: str = MAIL  # stored; part of notification ids, so that two transports of one medium deliver once
    default_recipients: tuple[str, ...] = ()
    sets_default: bool = False  # whether the configuration sets `default_recipient`
    for_programs: bool = False  # programs read its messages: no digests, no quiet hours, no catch-up

    def accepts(self, recipient: str) -> bool:
        """Whether `recipient`, which is not a role, is an address of this transport."""
        is_type = address_type_of(recipient) is self.address_type
        return is_type and (self.address_type is not AddressType.ENDPOINT or recipient == self.name)


def _missing(address_type: AddressType) -> TransportInfo:
    """The placeholder for recipients that no configured transport delivers to."""
    is_mail = address_type is AddressType.MAIL
    return TransportInfo(
        "", address_type, MAIL if is_mail else f"{address_type}/", for_programs=address_type is AddressType.ENDPOINT
    )


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """The input of routing besides the event: roles, routes, transports and verified addresses."""

    owner: str
    operators: tuple[str, ...]
    mail_transport: str  # the default transport for mail; empty: none is configured
    peers: frozenset[str]  # addresses that the owner added
    allows: Callable[[str], bool]  # whether `recipients.allow` matches an address
    routes: tuple[Route, ...] | None = None  # None: the built-in ones
    transports: Mapping[str, TransportInfo] = field(default_factory=dict)
    alerts: tuple[AlertRule, ...] = ()  # evaluated before the routes
    # Whether a peer record, the owner's client or the configuration confirms an address that the tree names.
    is_known: Callable[[str], bool] = lambda _address: True
    configured: frozenset[str] = frozenset()  # addresses that the configuration names as recipients, in lower case
    silenced: Callable[[Event], str] = lambda _event: ""  # why an active silence suppresses an event; empty: none does
    denies: Callable[[str], bool] = lambda _address: False  # whether `recipients.deny` matches an address

    @property
    def mail(self) -> TransportInfo:
        """The default transport for mail."""
        return self.transports.get(self.mail_transport) or TransportInfo(self.mail_transport, AddressType.MAIL)

    def transport_for(self, recipient: str) -> TransportInfo:
        """The transport for `recipient`, which is not a role, if the route names none.

        Channels use the first transport that has channels. If no transport fits, the result has no name.
        """
        if address_type_of(recipient) is AddressType.MAIL:
            return self.mail
        found = (each for each in self.transports.values() if each.accepts(recipient))
        return next(found, _missing(address_type_of(recipient)))


def built_in_routes(*, for_scientist: bool = False) -> tuple[Route, ...]:
    """The routes by the audiences of each event kind.

    With `for_scientist` the submitter gets the reminders of the owner, and the owner only events of the worker.
    """
    table = {
        audience: frozenset(kind for kind in EventKind if audience in kind.spec.audiences)
        for audience in ROLES.values()
    }
    if for_scientist:
        table[Audience.SUBMITTER] |= {EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING}
        table[Audience.OWNER] &= WORKER_KINDS
    return tuple(
        Route(f"built-in: {audience}", kinds, to=(audience.value,), continue_=True) for audience, kinds in table.items()
    )


_BUILT_IN_ROUTES = built_in_routes()


def notifications_for(
    events: Iterable[Event], context: RoutingContext, *, catches_up: bool = False, transport: str = ""
) -> list[Notification]:
    """The notifications for `events`: at most one for each event, medium and recipient.

    `catches_up` is for the events of the baseline: it leaves out submitters, recipients named by jobs, and programs.
    `transport` replaces the default transport for mail, for alerts that concern the latter.
    """
    if transport:
        # Built-in routes first: they use `transport`, whereas a configured route may name the one that fails.
        context = replace(context, mail_transport=transport, routes=(*_BUILT_IN_ROUTES, *(context.routes or ())))
    found: dict[str, Notification] = {}
    for event in events:
        silenced = context.silenced(event)
        for notification in _notifications_of(event, context):
            if not catches_up or _is_for_catch_up(notification):
                known = found.get(notification.id)
                if known is None or (known.skipped and not notification.skipped):
                    found[notification.id] = replace(notification, skipped=notification.skipped or silenced)
    return list(found.values())


def _is_for_catch_up(notification: Notification) -> bool:
    is_read_by_person = not notification.for_programs or notification.medium == INBOX
    return notification.audience in {Audience.OWNER, Audience.RECIPIENT} and is_read_by_person


def matching_routes(event: Event, context: RoutingContext) -> list[Route]:
    """The routes that apply to `event`, in order."""
    found = []
    for route in (*map(route_of, context.alerts), *(_BUILT_IN_ROUTES if context.routes is None else context.routes)):
        if route.matches(event):
            found.append(route)
            if not route.continue_:
                break
    return found


def transports_of(route: Route, context: RoutingContext) -> frozenset[str]:
    """The names of the transports through which a route notifies."""
    if route.transport in context.transports:
        return frozenset({route.transport})
    found = {context.mail.name if name in ROLES else context.transport_for(name).name for name in route.to}
    return frozenset(filter(None, found or {context.mail.name}))


def route_of(rule: AlertRule) -> Route:
    """The route for an alert rule. `on_failure` excludes timeouts: a rule has `on_timeout` for these."""
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
        continue_=True,
        requested_by=name,
        long_run_seconds=(minutes or 0.0) * 60.0,
    )


def long_runs(event: Event, context: RoutingContext) -> list[tuple[str, float]]:
    """The thresholds that alert rules set for long runs of the job of `event`: pairs of the source and seconds."""
    routes = map(route_of, context.alerts)
    return [
        (route.requested_by, route.long_run_seconds)
        for route in routes
        if route.long_run_seconds and route.match.matches(event)
    ]


def _notifications_of(event: Event, context: RoutingContext) -> Iterator[Notification]:
    found = [item for route in matching_routes(event, context) for item in _by_route(event, route, context)]
    if event.kind in WORKER_KINDS and all(item.skipped for item in found):
        routes = [route for route in _BUILT_IN_ROUTES if route.matches(event)]
        if not context.mail_transport:
            routes = [Route("built-in: without mail", transport=name) for name in list(context.transports)[:1]]
        found += [item for route in routes for item in _by_route(event, route, context)]
    yield from found
    yield from _job_requests(event, context)


def _by_route(event: Event, route: Route, context: RoutingContext) -> Iterator[Notification]:
    for recipient, audience, transport, skipped in _recipients(event, route, context):
        yield _notification(event, recipient, audience, transport, route.name, skipped, context)


def _notification(
    event: Event,
    recipient: str,
    audience: Audience,
    transport: TransportInfo,
    route: str,
    skipped: str,
    context: RoutingContext,
) -> Notification:
    is_mail = transport.address_type is AddressType.MAIL
    # Only the configuration names channels and endpoints.
    # Anybody may have an inbox.
    is_known = transport.medium != MAIL or not is_named_by_tree(event, audience) or context.is_known(recipient)
    return Notification(
        event_key=event.key,
        entity=event.entity,
        recipient=recipient.lower() if is_mail or recipient[:1] in {"#", "@"} else recipient,
        audience=audience,
        transport=transport.name,
        medium=transport.medium,
        for_programs=transport.for_programs,
        route=route,
        skipped=skipped
        or (_denial(recipient, audience, context) if transport.medium == MAIL else "")
        or ("" if transport.name else f"no transport delivers to {recipient}"),
        withheld="" if is_known else UNVERIFIED,
        source=source_of(event),
    )


def _denial(recipient: str, audience: Audience, context: RoutingContext) -> str:
    """Why `recipient` gets no mail although a route names it; empty if it may."""
    is_exempt = audience in {Audience.OWNER, Audience.OPERATOR} or not is_address(recipient)
    return DENIED if not is_exempt and context.denies(recipient) else ""


def is_named_by_tree(event: Event, audience: Audience) -> bool:
    """Whether the recipient comes from the tree, and not from the configuration or an emitter."""
    if event.emitted:
        return False
    return audience in {Audience.SUBMITTER, Audience.JOB_REQUESTED} or (
        audience is Audience.OWNER and "owners" in event.routing
    )


def is_unverified(event: Event, context: RoutingContext) -> bool:
    """Whether the submitter is named by the job's path alone."""
    submitter = str(event.payload.get("submitter") or "")
    return is_named_by_tree(event, Audience.SUBMITTER) and bool(submitter) and not context.is_known(submitter)


def source_of(event: Event) -> str:
    """Who caused `event`: the submitter or peer, the user of an emitted event; empty for the worker's own events."""
    if event.emitted:
        return str(event.routing.get("user") or "")
    if event.kind is EventKind.PEER_REQUESTED:  # anybody can send one, under any address
        return UNVERIFIED_SOURCE
    submitter = str(event.payload.get("submitter") or "").lower()
    is_of_tree = "layout" in event.payload
    return UNVERIFIED_SOURCE if event.payload.get("unverified") or (is_of_tree and not submitter) else submitter


# The kinds of a job's `notify` block without `on`.
_REQUESTED_KINDS = frozenset(
    {EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT, EventKind.JOB_CANCELLED}
)
_NOT_ALLOWED = "requested by the job only; add it to `recipients.allow` to permit it"


def _job_requests(event: Event, context: RoutingContext) -> Iterator[Notification]:
    """The recipients that the job itself requests.

    Those of an emitted event are all used; those of a scientist's job only if it is the submitter's own address, or
    `recipients.allow` permits it.
    """
    if _is_unreadable(event):
        return
    notify, alerts = event.routing.get("notify"), event.routing.get("alerts")
    if isinstance(notify, dict) and event.kind in _kinds_of(notify.get("on")):
        for address in texts(notify.get("emails")):
            if address_type_of(address) is AddressType.MAIL:
                yield _job_request(event, address, "the job's notify", context)
    if isinstance(alerts, dict) and _is_alert(event, alerts) and is_requested_by(event, ASKED_BY_JOB):
        recipients = texts(alerts.get("recipients"))
        for recipient in recipients:
            yield _job_request(event, recipient, "the job's alerts", context)
        if not recipients:
            for transport in _default_transports(context):
                yield from _by_route(event, Route("the job's alerts", transport=transport.name), context)


def _default_transports(context: RoutingContext) -> list[TransportInfo]:
    """The transports for alerts without recipients: those that set a default, otherwise mail, otherwise all."""
    found = [each for each in context.transports.values() if each.sets_default]
    return found or ([context.mail] if context.mail_transport else list(context.transports.values()))


def _is_alert(event: Event, alerts: Mapping[str, Any]) -> bool:
    """Whether a job's `alerts` block covers `event`; its `on_failure` includes timeouts."""
    wanted = {
        EventKind.JOB_FAILED: alerts.get("on_failure", True),
        EventKind.JOB_TIMEOUT: alerts.get("on_failure", True),
        EventKind.JOB_COMPLETED: alerts.get("on_success"),
        EventKind.JOB_LONG_RUNNING: alerts.get("on_long_run_minutes"),
    }
    return bool(wanted.get(event.kind))


def _job_request(event: Event, recipient: str, route: str, context: RoutingContext) -> Notification:
    transport = context.transport_for(recipient)
    submitter = str(event.payload.get("submitter") or "")
    is_mail = address_type_of(recipient) is AddressType.MAIL
    is_own = is_mail and is_address(submitter) and recipient.lower() == submitter.lower()
    is_allowed = event.emitted or is_own or context.allows(recipient)
    skipped = "" if is_allowed else _NOT_ALLOWED
    return _notification(event, recipient, Audience.JOB_REQUESTED, transport, route, skipped, context)


def _kinds_of(names: Any) -> frozenset[EventKind]:
    """The job kinds that a `notify` block names; unknown names are ignored."""
    found = {kind for name in texts(names) if (kind := find_kind(name)) is not None}
    return frozenset(found & JOB_KINDS) if texts(names) else _REQUESTED_KINDS


def _recipients(
    event: Event, route: Route, context: RoutingContext
) -> Iterator[tuple[str, Audience, TransportInfo, str]]:
    """The recipients of a route: address, audience, transport, and why it is skipped (empty: it is not)."""
    named = context.transports.get(route.transport)
    transport = named or context.mail
    for name in route.to or transport.default_recipients:
        if name in ROLES and transport.address_type is AddressType.MAIL:
            for recipient, skipped in _in_role(event, ROLES[name], context):
                yield recipient, ROLES[name], transport, skipped
        elif name in ROLES:  # the people in a role have mail addresses only
            yield from ((recipient, ROLES[name], transport, "") for recipient in transport.default_recipients)
        else:
            audience = Audience.OWNER if name.lower() == context.owner.lower() else Audience.RECIPIENT
            yield name, audience, named or context.transport_for(name), ""


def _in_role(event: Event, audience: Audience, context: RoutingContext) -> list[tuple[str, str]]:
    """The people in a role: pairs of an address and why it is skipped (empty: it is not)."""
    if audience is Audience.OWNER:
        return [(owner, "") for owner in _owners(event, context)]
    if audience is Audience.OPERATOR:
        return [(address, "") for address in context.operators]
    if event.emitted:
        return [(user, "") for user in submitters_of(event) if is_address(user)]
    payload = event.payload
    if _is_unreadable(event) or event.routing.get("owners_only"):
        return []
    submitter = str(payload.get("submitter") or "")
    if submitter:
        return [
            (submitter, "" if is_address(submitter) else "the name of the submitter's folder is not a mail address")
        ]
    claimed = str(payload.get("claimed") or "")
    if not is_address(claimed):
        return []
    if claimed.lower() in context.peers or context.allows(claimed):
        return [(claimed, "")]
    return [(claimed, "named by the job's own config.yaml only; add it to `recipients.allow` to permit it")]


def _owners(event: Event, context: RoutingContext) -> Sequence[str]:
    """The owners to notify: of several, those who have not decided yet, if the event asks for a decision."""
    if event.emitted or "owners" not in event.routing:
        return (context.owner,)
    is_for_decision = event.kind.spec.awaits_owner or event.kind is EventKind.JOB_WAITING
    return texts(event.routing["undecided" if is_for_decision else "owners"])


def _is_unreadable(event: Event) -> bool:
    """Whether its job in the tree cannot be read; then only the owner's configuration names recipients."""
    return bool(event.payload.get("unreadable")) and not event.emitted
