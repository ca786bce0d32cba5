"""Promises of routing, for random events, configurations and job requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, time
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from syftnotify.config.schema import Recipients
from syftnotify.core.digests import group_into_digests
from syftnotify.core.identifiers import AddressType, address_type_of, is_address
from syftnotify.core.kinds import END_KINDS, ROLES, WORKER_KINDS, EventKind, Severity
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import MAIL, QUIET_HOURS_PREFIX, AlertRule, Event, Notification
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.routing import RoutingContext, TransportInfo, matching_routes, notifications_for
from syftnotify.transports.webhook.alert_targets import transport_info
from tests.support import ANA, BO, FUZZ_FACTOR, OWNER

OPERATOR = "op@site.example"
STRANGER = "stranger@far.example"
many_examples = settings(
    max_examples=150 * FUZZ_FACTOR, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
ADDRESSES = (OWNER, ANA, BO, ANA.upper(), OPERATOR, STRANGER)
CHANNELS = ("#jobs", "#JOBS", "@bo")
HOSTILE = (
    " ",
    "x\r\nBcc: victim@far.example",
    ", victim@far.example",
    "=?utf-8?q?a?=@far.example",
    "a b@far.example",
    "a@b@far.example",
    "\u017ftranger@far.example",
    "\udc80@far.example",
    "#jobs@far.example",
    "x" * 300 + "@far.example",
    "*",
    "[a-z]*",
    "owner",
    "\x1b[2J",
)
address_strings = st.sampled_from((*ADDRESSES, *CHANNELS, "oncall", "audit", "nowhere", *HOSTILE))
people = st.sampled_from(("", "", ANA, ANA, *ADDRESSES, *CHANNELS, *HOSTILE))
lists = st.lists(address_strings, max_size=2)
facts: dict[str, st.SearchStrategy[Any]] = {
    "name": st.one_of(st.sampled_from(["nightly-1", "NIGHTLY-2"]), st.text(max_size=5)),
    "owner": st.just(OWNER),
    "submitter": people,
    "claimed": people,
}
more: dict[str, st.SearchStrategy[Any]] = {
    "tags": st.one_of(st.just(["etl", "Team-Data"]), lists),
    "asked_by": st.sampled_from([["reminders"], ["alert a", "reminders"], ["job"]]),
}
requests: dict[str, st.SearchStrategy[Any]] = {
    "notify": st.fixed_dictionaries(
        {"emails": lists, "on": st.sampled_from([[], ["failed"], ["JOB_FAILED", "no kind"], [*EventKind]])}
    ),
    "alerts": st.fixed_dictionaries(
        {
            "on_failure": st.booleans(),
            "on_success": st.booleans(),
            "on_long_run_minutes": st.sampled_from([None, 5]),
            "recipients": lists,
        }
    ),
}
kinds = st.one_of(
    st.sampled_from([EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT, EventKind.JOB_COMPLETED]), st.sampled_from(EventKind)
)
PayloadParts = tuple[dict[str, Any], dict[str, Any], bool]  # payload, routing, whether it was emitted


def payload_parts(payload: Any, routing: Any, emitted: bool) -> st.SearchStrategy[PayloadParts]:
    return st.tuples(payload, routing, st.just(emitted))


job_payloads = st.fixed_dictionaries(facts)
data = st.fixed_dictionaries({}, optional=facts)
emitted_routing = {"user": people}
scanned = payload_parts(job_payloads, st.fixed_dictionaries(requests, optional=more), False)
emitted = payload_parts(data, st.fixed_dictionaries({**emitted_routing, **requests}, optional=more), True)
without_requests = st.one_of(
    payload_parts(job_payloads, st.fixed_dictionaries({}, optional=more), False),
    payload_parts(data, st.fixed_dictionaries(emitted_routing, optional=more), True),
)


def events(drawn: st.SearchStrategy[PayloadParts]) -> st.SearchStrategy[Event]:
    entities = st.sampled_from(["job/D/o/a/nightly-1", "GPU 0", *HOSTILE])

    def build_event(kind: EventKind, entity: str, drawn: PayloadParts) -> Event:
        payload, routing, is_emitted = drawn
        return Event(kind, entity, payload=payload, routing=routing, emitted=is_emitted)

    return st.builds(build_event, kinds, entities, drawn)


any_events = st.lists(events(st.one_of(scanned, emitted)), min_size=1, max_size=4)
BOX, RELAY = (
    TransportInfo("box", AddressType.MAIL, MAIL, (OWNER,)),
    TransportInfo("relay", AddressType.MAIL, MAIL, (BO, "operator"), sets_default=True),
)
TEAM, OPS = (
    TransportInfo("team", AddressType.CHANNEL, "slack/team", ("team",)),
    TransportInfo("ops", AddressType.CHANNEL, "slack/ops", ("#ops", "@bo"), sets_default=True),
)
ONCALL, AUDIT = (
    TransportInfo(
        name, AddressType.ENDPOINT, f"webhook/{name}", (name,), sets_default=name == "audit", for_programs=True
    )
    for name in ("oncall", "audit")
)
CHAT = TransportInfo("chat", AddressType.ENDPOINT, "discord/chat", ("chat",))
transports = st.sampled_from(
    [
        (BOX,),
        (CHAT, BOX),
        (RELAY, BOX),
        (TEAM, ONCALL),
        (AUDIT, OPS),
        (BOX, TEAM, OPS),
        (BOX, TEAM, ONCALL, RELAY, OPS, AUDIT),
    ]
)
patterns = st.one_of(
    st.sampled_from(["*", "ana@*", "ANA@UNI.example", "Nightly-*", "N?ghtly-[0-9]", "*@far.example", "team-*", "["]),
    st.text("aA*?[]!-@.", max_size=5),
)
globs = st.one_of(st.just(()), st.tuples(patterns), st.tuples(patterns, patterns))
matches = st.one_of(
    st.sampled_from(
        [
            Match(),
            Match(),
            Match(submitter=("ANA@*", "bo@*")),
            Match(owner=("*@Datasite.example",), severity=("high",)),
            Match(job=("nightly-?", "gpu*")),
            Match(job=("JOB/D/*",)),
            Match(tags=("TEAM-*",)),
            Match(job=("*",), excluding=Match(tags=("etl",))),
            Match(excluding=Match(severity=("low", "medium"))),
            Match(excluding=Match(job=("nightly-1",), submitter=("*",))),
        ]
    ),
    st.builds(Match, globs, globs, globs, globs, excluding=st.one_of(st.none(), st.builds(Match, job=globs))),
)
event_kinds = st.sampled_from([None, None, None, END_KINDS, frozenset(EventKind) - {EventKind.JOB_FAILED}])
rules = st.builds(
    AlertRule,
    st.sampled_from(["a", "b"]),
    st.sampled_from([OWNER, BO, BO.upper(), "oncall", "audit", "https://hooks.example/x"]),
    job=st.one_of(st.just(""), patterns),
    tag=st.one_of(st.just(""), st.just(""), patterns),
    on_success=st.booleans(),
    on_long_run_minutes=st.sampled_from([None, 5.0]),
)


@st.composite
def routes(draw: st.DrawFn, infos: Mapping[str, TransportInfo]) -> tuple[Route, ...]:
    """Valid routes, and some with recipients that no transport can send to."""
    has_mail = any(info.address_type is AddressType.MAIL for info in infos.values())
    result = []
    for number in range(draw(st.sampled_from([2, 3, 1, 4, 0]))):
        transport = draw(st.sampled_from(["", "", *infos]))
        by_type = {
            AddressType.MAIL: (*ROLES, *ADDRESSES),
            AddressType.CHANNEL: CHANNELS,
            AddressType.ENDPOINT: (transport,),
        }
        possible = (
            by_type[infos[transport].address_type]
            if transport
            else (*ROLES, *ADDRESSES, *CHANNELS, "oncall", "chat", "nowhere")
        )
        to = draw(st.lists(st.sampled_from(possible), min_size=0 if transport or has_mail else 1, max_size=3))
        name, continue_ = f"routes[{number}]", draw(st.booleans())
        result.append(Route(name, draw(event_kinds), draw(matches), tuple(to), transport, continue_=continue_))
    return tuple(result)


@st.composite
def contexts(draw: st.DrawFn, *, with_alerts: bool = True, with_routes: bool = False) -> RoutingContext:
    """`with_routes` leaves out the built-in routes."""
    infos = {info.name: info for info in draw(transports)}
    allow = draw(st.sampled_from([(), (), (BO.upper(), "#jobs"), ("*@FAR.example",)]))
    return with_alert_transports(
        RoutingContext(
            OWNER,
            draw(st.sampled_from([(), (OPERATOR,)])),
            next((info.name for info in infos.values() if info.address_type is AddressType.MAIL), ""),
            draw(st.sampled_from([frozenset(), frozenset({ANA})])),
            Recipients(allow=allow).allows,
            draw(routes(infos)) if with_routes or draw(st.booleans()) else None,
            infos,
            tuple(draw(st.lists(rules, max_size=2))) if with_alerts else (),
        )
    )


def with_alert_transports(context: RoutingContext) -> RoutingContext:
    """The same, with a transport for each URL of an alert rule."""
    own = [rule.endpoint for rule in context.alerts if rule.has_url]
    return replace(context, transports={**context.transports, **{name: transport_info(name) for name in own}})


PLAIN = RoutingContext(OWNER, (), "box", frozenset(), lambda _: False, transports={"box": BOX})


def model_matches(match: Match, event: Event) -> bool:
    """`match`, as the documentation of the configuration defines it."""
    payload = event.payload
    values = {
        "submitter": [event.routing["user"] if event.emitted else payload.get("submitter") or payload.get("claimed")],
        "owner": [] if event.emitted else [payload.get("owner")],
        "job": [payload.get("name"), event.entity],
        "tags": event.routing.get("tags", []),
        "severity": [event.severity.value],
    }
    return all(
        any(
            value and fnmatchcase(value.casefold(), pattern.casefold())
            for value in values[key]
            for pattern in wanted_patterns
        )
        for key in values
        if (wanted_patterns := getattr(match, key))
    ) and not (match.excluding and model_matches(match.excluding, event))


def model_role(role: str, event: Event, context: RoutingContext) -> list[tuple[str, bool]]:
    """The addresses of a role, and whether each may be notified."""
    if role != "submitter":
        return [(address, True) for address in ((context.owner,) if role == "owner" else context.operators)]
    if event.emitted:
        user = event.routing["user"]
        return [(user, True)] if is_address(user) else []
    submitter, claimed = (event.payload.get(key, "") for key in ("submitter", "claimed"))
    if submitter:
        return [(submitter, is_address(submitter))]
    return [(claimed, claimed.lower() in context.peers or context.allows(claimed))] if is_address(claimed) else []


def model_transport(recipient: str, context: RoutingContext) -> TransportInfo:
    """The default transport of a recipient: mail, the first workspace, or the webhook of that name."""
    address_type = address_type_of(recipient)
    if address_type is AddressType.MAIL:
        return context.mail
    fitting = [
        info
        for info in context.transports.values()
        if info.address_type is address_type and (address_type is AddressType.CHANNEL or info.name == recipient)
    ]
    return fitting[0] if fitting else TransportInfo("", address_type, f"{address_type}/")


def recipients_of(route: Route, event: Event, context: RoutingContext) -> list[tuple[str, TransportInfo, bool]]:
    """The recipients of a route, their transport, and whether each may be notified."""
    named = context.transports.get(route.transport)
    result = []
    for recipient in route.to or (named or context.mail).default_recipients:
        info = named or (context.mail if recipient in ROLES else model_transport(recipient, context))
        people = model_role(recipient, event, context) if recipient in ROLES else [(recipient, True)]
        result += [(address, info, is_allowed and info.name != "") for address, is_allowed in people]
    return result


def model_key(address: str, info: TransportInfo) -> tuple[str, str]:
    """Medium and recipient: one mailbox for all mail transports, else the medium of each transport."""
    if info.address_type is AddressType.MAIL:
        return MAIL, address.lower()
    return info.medium, address.lower() if info.address_type is AddressType.CHANNEL and address[0] in "#@" else address


def model_notifications(event: Event, context: RoutingContext) -> dict[tuple[str, str], tuple[str, str, bool]]:
    """(medium, recipient) -> (route, transport, whether it is notified): in order, until a route does not continue."""
    result: dict[tuple[str, str], tuple[str, str, bool]] = {}
    for route in context.routes or ():
        is_asked = "reminders" in event.routing.get("asked_by", ["reminders"])
        if is_asked and (route.kinds is None or event.kind in route.kinds) and model_matches(route.match, event):
            for address, info, is_allowed in recipients_of(route, event, context):
                key = model_key(address, info)
                if key not in result or is_allowed > result[key][2]:
                    result[key] = (route.name, info.name, is_allowed)
            if not route.continue_:
                break
    return result


def keys(notifications: Iterable[Notification]) -> set[tuple[str, str, str]]:
    """Event, medium and recipient of each notification that is not skipped."""
    return {(item.event_key, item.medium, item.recipient) for item in notifications if not item.skipped}


@many_examples
@given(any_events, contexts())
def test_recipient_is_notified_once_by_one_medium(drawn_events: list[Event], context: RoutingContext) -> None:
    """N20: whatever the letter case of addresses, roles, routes, rules and requests."""
    notifications = [
        (item.event_key, item.medium, item.recipient.lower() if item.medium == MAIL else item.recipient)
        for item in notifications_for(drawn_events, context)
    ]

    assert len(set(notifications)) == len(notifications)


@many_examples
@given(events(without_requests), contexts(with_alerts=False, with_routes=True))
@example(
    Event(EventKind.JOB_APPROVED, "job/A/o/-/x", payload={"claimed": BO}),
    replace(PLAIN, routes=(Route("refused", to=("submitter",), continue_=True), Route("notified", to=(BO.upper(),)))),
)
def test_routes_apply_in_order_until_one_does_not_continue(event: Event, context: RoutingContext) -> None:
    """N18, N19: agrees with the model."""
    expected = model_notifications(event, context)
    assume(expected or event.kind not in WORKER_KINDS)

    assert {
        (item.medium, item.recipient): (item.route, item.transport, not item.skipped)
        for item in notifications_for([event], context)
    } == expected


@many_examples
@given(events(st.one_of(scanned, emitted)), contexts())
def test_recipient_of_a_matching_route_is_notified_or_skipped_with_reason(
    event: Event, context: RoutingContext
) -> None:
    """X05: nothing is dropped silently, unless a role has no member."""
    notifications = notifications_for([event], context)
    shown = {(item.medium, item.recipient) for item in notifications}

    for route in matching_routes(event, context):
        for address, info, is_allowed in recipients_of(route, event, context):
            key = model_key(address, info)
            assert key in shown
            assert not is_allowed or (event.key, *key) in keys(notifications)
    assert all(item.transport or item.skipped.strip() for item in notifications)


@many_examples
@given(events(scanned), contexts())
def test_job_cannot_notify_an_unverified_address(event: Event, context: RoutingContext) -> None:
    """X11: the configuration, the path or the list of peers must name or allow the address."""
    configured = {
        context.owner,
        *context.operators,
        *(recipient for route in context.routes or () for recipient in route.to),
        *(recipient for info in context.transports.values() for recipient in info.default_recipients),
        *(rule.endpoint for rule in context.alerts),
    }
    own, claimed = event.payload["submitter"].lower(), event.payload["claimed"].lower()
    for _, _, address in keys(notifications_for([event], context)):
        assert (
            address.lower() in {recipient.lower() for recipient in configured}
            or address.lower() == own
            or (address.lower() == claimed and claimed in context.peers)
            or context.allows(address)
        )


@many_examples
@given(any_events, contexts(), st.sampled_from([str.upper, str.lower, str.swapcase]))
def test_patterns_ignore_case(
    drawn_events: list[Event], context: RoutingContext, respell: Callable[[str], str]
) -> None:
    """N18"""

    def respelled_match(match: Match | None) -> Match | None:
        if match is None:
            return None
        respelled = {key: tuple(map(respell, getattr(match, key))) for key in ("submitter", "owner", "job", "tags")}
        return replace(match, **respelled, excluding=respelled_match(match.excluding))

    other = replace(
        context,
        routes=context.routes
        and tuple(replace(route, match=respelled_match(route.match) or Match()) for route in context.routes),
        alerts=tuple(replace(rule, job=respell(rule.job), tag=respell(rule.tag)) for rule in context.alerts),
    )

    assert notifications_for(drawn_events, other) == notifications_for(drawn_events, context)


@many_examples
@given(any_events, contexts(), rules)
def test_additional_alert_rule_removes_no_notification(
    drawn_events: list[Event], context: RoutingContext, rule: AlertRule
) -> None:
    """A03"""
    with_rule = with_alert_transports(replace(context, alerts=(*context.alerts, replace(rule, id="new"))))

    assert keys(notifications_for(drawn_events, context)) <= keys(notifications_for(drawn_events, with_rule))


NIGHT = 1_800_000_000.0  # 08:00 in UTC
quiet_hours = st.builds(
    QuietHours,
    st.sampled_from([time(7), time(8), time(9)]),
    st.sampled_from([time(6), time(10)]),
    st.just(UTC),
    exempt=st.frozensets(st.sampled_from(Severity)),
)


def is_read_by_people(item: Notification) -> bool:
    """Whether it is sent, and a person reads it."""
    return not item.skipped and not item.medium.startswith("webhook/")


def reader_of(item: Notification) -> tuple[str, str]:
    return item.recipient, item.transport


@many_examples
@given(any_events, contexts(), st.booleans(), st.integers(0, 3))
def test_digests_lose_nothing_and_add_nothing(
    drawn_events: list[Event], context: RoutingContext, always: bool, above: int
) -> None:
    """X06: all or none of a recipient; what programs read, or is skipped, is unchanged."""
    notifications = notifications_for(drawn_events, context)
    after = group_into_digests(notifications, always=always, above=above)
    count = Counter(reader_of(item) for item in notifications if is_read_by_people(item))
    bundles = {(item.bundle, reader_of(item)) for item in after if item.bundle}

    assert [replace(item, bundle="") for item in after] == notifications
    for item in after:
        assert bool(item.bundle) is (is_read_by_people(item) and (always or count[reader_of(item)] > above))
    assert len({bundle for bundle, _ in bundles}) == len({reader for _, reader in bundles}) == len(bundles)


@many_examples
@given(any_events, contexts(), quiet_hours)
def test_quiet_hours_lose_nothing_and_defer_nothing_exempt(
    drawn_events: list[Event], context: RoutingContext, quiet_hours: QuietHours
) -> None:
    """X06"""
    by_key = {event.key: event for event in drawn_events}
    notifications = group_into_digests(notifications_for(drawn_events, context), above=2)
    until = quiet_hours.until(NIGHT)
    for before, after in zip(notifications, defer(notifications, by_key, quiet_hours, NIGHT), strict=True):
        event = by_key[before.event_key]
        is_urgent = event.severity in quiet_hours.exempt or event.kind in WORKER_KINDS
        if until is None or not is_read_by_people(before) or is_urgent:
            assert after == before
        else:
            assert replace(after, not_before=0.0, bundle=before.bundle) == before
            assert (after.not_before, after.bundle[: len(QUIET_HOURS_PREFIX)]) == (until, QUIET_HOURS_PREFIX)
    assert defer(notifications, by_key, None, NIGHT) == notifications


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), address_strings),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(address_strings, inner, max_size=2)),
    max_leaves=4,
)
PAYLOAD_KEYS = ("user", "name", "owner", "submitter", "claimed", "tags", "asked_by", "notify", "alerts", "emitted")


@many_examples
@given(
    events(payload_parts(st.dictionaries(st.sampled_from(PAYLOAD_KEYS), json_values, max_size=3), st.just({}), True)),
    contexts(),
)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"user": {"id": 1}}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"notify": {"emails": [BO]}}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"alerts": {"recipients": [BO]}}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"submitter": BO, "emitted": False}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_LONG_RUNNING, "run/1", payload={"asked_by": ["job"]}, emitted=True), PLAIN)
def test_payload_of_an_emitted_event_does_not_route(event: Event, context: RoutingContext) -> None:
    """C4, X11, C07: whatever the payload holds, `name` for `match.job` aside, the recipients are the same."""
    plain = replace(event, payload={key: value for key, value in event.payload.items() if key == "name"})

    assert notifications_for([event], context) == notifications_for([plain], context)
