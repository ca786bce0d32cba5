"""Random events, routes, alert rules and contexts for the tests of routing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from syftnotify.config.schema import Recipients
from syftnotify.core.identifiers import AddressType
from syftnotify.core.kinds import END_KINDS, ROLES, EventKind
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import MAIL, AlertRule, Event, Notification
from syftnotify.core.routing import RoutingContext, TransportInfo
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
    patterns = st.sampled_from([(), (), (BO.upper(), "#jobs"), ("*@FAR.example",)])
    recipients = Recipients(allow=draw(patterns), deny=draw(patterns))
    return with_alert_transports(
        RoutingContext(
            OWNER,
            draw(st.sampled_from([(), (OPERATOR,)])),
            next((info.name for info in infos.values() if info.address_type is AddressType.MAIL), ""),
            draw(st.sampled_from([frozenset(), frozenset({ANA})])),
            recipients.allows,
            routes=draw(routes(infos)) if with_routes or draw(st.booleans()) else None,
            transports=infos,
            alerts=tuple(draw(st.lists(rules, max_size=2))) if with_alerts else (),
            denies=recipients.denies,
        )
    )


def with_alert_transports(context: RoutingContext) -> RoutingContext:
    """The same, with a transport for each URL of an alert rule."""
    own = [rule.endpoint for rule in context.alerts if rule.has_url]
    return replace(context, transports={**context.transports, **{name: transport_info(name) for name in own}})


PLAIN = RoutingContext(OWNER, (), "box", frozenset(), lambda _: False, transports={"box": BOX})


def keys(notifications: Iterable[Notification]) -> set[tuple[str, str, str]]:
    """Event, medium and recipient of each notification that is not skipped."""
    return {(item.event_key, item.medium, item.recipient) for item in notifications if not item.skipped}
