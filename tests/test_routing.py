"""Who hears, whatever the events, the routes and the wishes are: promises of routing, tried with all sorts of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, time
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
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
from tests.property.strategies import quickly
from tests.support import ANA, BO, OWNER, THOROUGH

OPERATOR = "op@site.example"
STRANGER = "stranger@far.example"

often = settings(quickly, max_examples=150 * THOROUGH)

# -- all sorts of events ---------------------------------------------------------------------------------------------

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
words = st.sampled_from((*ADDRESSES, *CHANNELS, "oncall", "audit", "nowhere", *HOSTILE))
people = st.sampled_from(("", "", ANA, ANA, *ADDRESSES, *CHANNELS, *HOSTILE))
lists = st.lists(words, max_size=2)
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
wishes: dict[str, st.SearchStrategy[Any]] = {
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


def parts(payload: Any, routing: Any, emitted: bool) -> st.SearchStrategy[PayloadParts]:
    return st.tuples(payload, routing, st.just(emitted))


jobs_words = st.fixed_dictionaries(facts)
data = st.fixed_dictionaries({}, optional=facts)
by_hand = {"user": people}
of_the_tree = parts(jobs_words, st.fixed_dictionaries(wishes, optional=more), False)
emitted = parts(data, st.fixed_dictionaries({**by_hand, **wishes}, optional=more), True)
without_wishes = st.one_of(
    parts(jobs_words, st.fixed_dictionaries({}, optional=more), False),
    parts(data, st.fixed_dictionaries(by_hand, optional=more), True),
)


def events(drawn: st.SearchStrategy[PayloadParts]) -> st.SearchStrategy[Event]:
    entities = st.sampled_from(["job/D/o/a/nightly-1", "GPU 0", *HOSTILE])

    def made(kind: EventKind, entity: str, drawn: PayloadParts) -> Event:
        payload, routing, is_emitted = drawn
        return Event(kind, entity, payload=payload, routing=routing, emitted=is_emitted)

    return st.builds(made, kinds, entities, drawn)


any_events = st.lists(events(st.one_of(of_the_tree, emitted)), min_size=1, max_size=4)

# -- all sorts of configurations -------------------------------------------------------------------------------------

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
wanted = st.sampled_from([None, None, None, END_KINDS, frozenset(EventKind) - {EventKind.JOB_FAILED}])
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
def routes(draw: st.DrawFn, known: Mapping[str, TransportInfo]) -> tuple[Route, ...]:
    """Such as reading the configuration lets pass, and some whose recipients nothing carries to."""
    has_mail = any(way.address_type is AddressType.MAIL for way in known.values())
    found = []
    for number in range(draw(st.sampled_from([2, 3, 1, 4, 0]))):
        via = draw(st.sampled_from(["", "", *known]))
        fitting = {AddressType.MAIL: (*ROLES, *ADDRESSES), AddressType.CHANNEL: CHANNELS, AddressType.ENDPOINT: (via,)}
        whom = fitting[known[via].address_type] if via else (*ROLES, *ADDRESSES, *CHANNELS, "oncall", "chat", "nowhere")
        to = draw(st.lists(st.sampled_from(whom), min_size=0 if via or has_mail else 1, max_size=3))
        name, continue_ = f"routes[{number}]", draw(st.booleans())
        found.append(Route(name, draw(wanted), draw(matches), tuple(to), via, continue_=continue_))
    return tuple(found)


@st.composite
def reaches(draw: st.DrawFn, *, with_alerts: bool = True, with_routes: bool = False) -> RoutingContext:
    """`with_routes` leaves out the built-in ones."""
    known = {way.name: way for way in draw(transports)}
    allow = draw(st.sampled_from([(), (), (BO.upper(), "#jobs"), ("*@FAR.example",)]))
    return reached(
        RoutingContext(
            OWNER,
            draw(st.sampled_from([(), (OPERATOR,)])),
            next((way.name for way in known.values() if way.address_type is AddressType.MAIL), ""),
            draw(st.sampled_from([frozenset(), frozenset({ANA})])),
            Recipients(allow=allow).allows,
            draw(routes(known)) if with_routes or draw(st.booleans()) else None,
            known,
            tuple(draw(st.lists(rules, max_size=2))) if with_alerts else (),
        )
    )


def reached(reach: RoutingContext) -> RoutingContext:
    """The same, with a way to each address that a rule names by itself."""
    own = [rule.endpoint for rule in reach.alerts if rule.has_url]
    return replace(reach, transports={**reach.transports, **{name: transport_info(name) for name in own}})


PLAIN = RoutingContext(OWNER, (), "box", frozenset(), lambda _: False, transports={"box": BOX})

# -- a plain model of the routes -------------------------------------------------------------------------------------


def is_like(match: Match, event: Event) -> bool:
    """What the configuration's page says of `match`."""
    payload = event.payload
    values = {
        "submitter": [event.routing["user"] if event.emitted else payload.get("submitter") or payload.get("claimed")],
        "owner": [] if event.emitted else [payload.get("owner")],
        "job": [payload.get("name"), event.entity],
        "tags": event.routing.get("tags", []),
        "severity": [event.severity.value],
    }
    return all(
        any(value and fnmatchcase(value.casefold(), pattern.casefold()) for value in values[key] for pattern in wanted)
        for key in values
        if (wanted := getattr(match, key))
    ) and not (match.excluding and is_like(match.excluding, event))


def in_role(role: str, event: Event, reach: RoutingContext) -> list[tuple[str, bool]]:
    """Who stands behind `role`, and whether they may be told."""
    if role != "submitter":
        return [(address, True) for address in ((reach.owner,) if role == "owner" else reach.operators)]
    if event.emitted:
        user = event.routing["user"]
        return [(user, True)] if is_address(user) else []
    submitter, claimed = (event.payload.get(key, "") for key in ("submitter", "claimed"))
    if submitter:
        return [(submitter, is_address(submitter))]
    return [(claimed, claimed.lower() in reach.peers or reach.allows(claimed))] if is_address(claimed) else []


def carrier(word: str, reach: RoutingContext) -> TransportInfo:
    """What carries to a recipient when nobody says: mail, the first workspace, or the webhook of that name."""
    form = address_type_of(word)
    if form is AddressType.MAIL:
        return reach.mail
    fitting = [
        way
        for way in reach.transports.values()
        if way.address_type is form and (form is AddressType.CHANNEL or way.name == word)
    ]
    return fitting[0] if fitting else TransportInfo("", form, f"{form}/")


def whom(route: Route, event: Event, reach: RoutingContext) -> list[tuple[str, TransportInfo, bool]]:
    """Whom a route names, what carries to them, and whether they may be told."""
    named = reach.transports.get(route.transport)
    found = []
    for word in route.to or (named or reach.mail).default_recipients:
        way = named or (reach.mail if word in ROLES else carrier(word, reach))
        people = in_role(word, event, reach) if word in ROLES else [(word, True)]
        found += [(who, way, may and way.name != "") for who, may in people]
    return found


def place(who: str, way: TransportInfo) -> tuple[str, str]:
    """Medium and recipient: one mailbox whatever way of mail it is, else each way's own."""
    if way.address_type is AddressType.MAIL:
        return MAIL, who.lower()
    return way.medium, who.lower() if way.address_type is AddressType.CHANNEL and who[0] in "#@" else who


def by_the_book(event: Event, reach: RoutingContext) -> dict[tuple[str, str], tuple[str, str, bool]]:
    """(medium, recipient) -> (route, transport, whether it is told): in order, until a route does not go on."""
    found: dict[tuple[str, str], tuple[str, str, bool]] = {}
    for route in reach.routes or ():
        is_asked = "reminders" in event.routing.get("asked_by", ["reminders"])
        if is_asked and (route.kinds is None or event.kind in route.kinds) and is_like(route.match, event):
            for who, way, may in whom(route, event, reach):
                key = place(who, way)
                if key not in found or may > found[key][2]:
                    found[key] = (route.name, way.name, may)
            if not route.continue_:
                break
    return found


# -- promises --------------------------------------------------------------------------------------------------------


def keys(notifications: Iterable[Notification]) -> set[tuple[str, str, str]]:
    """Who is told what by which medium."""
    return {(item.event_key, item.medium, item.recipient) for item in notifications if not item.skipped}


@often
@given(any_events, reaches())
def test_nobody_is_owed_the_same_twice_by_one_medium(happened: list[Event], reach: RoutingContext) -> None:
    """N20: letter case of addresses aside, whatever roles, routes, rules and wishes name somebody."""
    owed = [
        (item.event_key, item.medium, item.recipient.lower() if item.medium == MAIL else item.recipient)
        for item in notifications_for(happened, reach)
    ]

    assert len(set(owed)) == len(owed)


@often
@given(events(without_wishes), reaches(with_alerts=False, with_routes=True))
@example(
    Event(EventKind.JOB_APPROVED, "job/A/o/-/x", payload={"claimed": BO}),
    replace(PLAIN, routes=(Route("refused", to=("submitter",), continue_=True), Route("told", to=(BO.upper(),)))),
)
def test_routes_are_asked_in_order_until_one_does_not_go_on(event: Event, reach: RoutingContext) -> None:
    """N18, N19: as the plain model above has it."""
    book = by_the_book(event, reach)
    assume(book or event.kind not in WORKER_KINDS)

    assert {
        (item.medium, item.recipient): (item.route, item.transport, not item.skipped)
        for item in notifications_for([event], reach)
    } == book


@pytest.mark.parametrize("role", ["submitter", "operator"])
def test_no_route_of_ones_own_silences_the_notifiers_own_trouble(role: str) -> None:
    """X07: nor one that takes everything, to a role in which nobody is here."""
    trouble = Event(EventKind.SYSTEM_ALERT, "worker/x", payload={"summary": "it hurts"})

    assert keys(notifications_for([trouble], replace(PLAIN, routes=(Route("all", to=(role,)),))))


@often
@given(events(st.one_of(of_the_tree, emitted)), reaches())
def test_whom_a_deciding_route_names_is_told_or_left_out_for_a_reason(event: Event, reach: RoutingContext) -> None:
    """X05: nothing vanishes silently, unless a role names nobody."""
    owed = notifications_for([event], reach)
    shown = {(item.medium, item.recipient) for item in owed}

    for route in matching_routes(event, reach):
        for who, way, may in whom(route, event, reach):
            key = place(who, way)
            assert key in shown
            assert not may or (event.key, *key) in keys(owed)
    assert all(item.transport or item.skipped.strip() for item in owed)


@often
@given(events(of_the_tree), reaches())
def test_a_job_gets_nobody_told_whom_no_one_vouches_for(event: Event, reach: RoutingContext) -> None:
    """X11: the configuration names them, or lets them pass, or the path does, or they are a known peer."""
    configured = {
        reach.owner,
        *reach.operators,
        *(word for route in reach.routes or () for word in route.to),
        *(word for way in reach.transports.values() for word in way.default_recipients),
        *(rule.endpoint for rule in reach.alerts),
    }
    own, claimed = event.payload["submitter"].lower(), event.payload["claimed"].lower()
    for _, _, who in keys(notifications_for([event], reach)):
        assert (
            who.lower() in {word.lower() for word in configured}
            or who.lower() == own
            or (who.lower() == claimed and claimed in reach.peers)
            or reach.allows(who)
        )


@often
@given(any_events, reaches(), st.sampled_from([str.upper, str.lower, str.swapcase]))
def test_the_letter_case_of_patterns_does_not_matter(
    happened: list[Event], reach: RoutingContext, spelled: Callable[[str], str]
) -> None:
    """N18"""

    def otherwise(match: Match | None) -> Match | None:
        if match is None:
            return None
        respelled = {key: tuple(map(spelled, getattr(match, key))) for key in ("submitter", "owner", "job", "tags")}
        return replace(match, **respelled, excluding=otherwise(match.excluding))

    other = replace(
        reach,
        routes=reach.routes
        and tuple(replace(route, match=otherwise(route.match) or Match()) for route in reach.routes),
        alerts=tuple(replace(rule, job=spelled(rule.job), tag=spelled(rule.tag)) for rule in reach.alerts),
    )

    assert notifications_for(happened, other) == notifications_for(happened, reach)


@often
@given(any_events, reaches(), rules)
def test_one_more_rule_takes_nothing_from_anybody(
    happened: list[Event], reach: RoutingContext, rule: AlertRule
) -> None:
    """A03"""
    with_rule = reached(replace(reach, alerts=(*reach.alerts, replace(rule, id="new"))))

    assert keys(notifications_for(happened, reach)) <= keys(notifications_for(happened, with_rule))


NIGHT = 1_800_000_000.0  # 08:00 in UTC
hours = st.builds(
    QuietHours,
    st.sampled_from([time(7), time(8), time(9)]),
    st.sampled_from([time(6), time(10)]),
    st.just(UTC),
    exempt=st.frozensets(st.sampled_from(Severity)),
)


def is_for_people(item: Notification) -> bool:
    """Whether it leaves, and a person reads it."""
    return not item.skipped and not item.medium.startswith("webhook/")


def reader_of(item: Notification) -> tuple[str, str]:
    return item.recipient, item.transport


@often
@given(any_events, reaches(), st.booleans(), st.integers(0, 3))
def test_bundling_loses_nothing_and_adds_nothing(
    happened: list[Event], reach: RoutingContext, always: bool, above: int
) -> None:
    """X06: of each reader, all or none; and what a program reads, or is skipped, is left as it is."""
    owed = notifications_for(happened, reach)
    after = group_into_digests(owed, always=always, above=above)
    count = Counter(reader_of(item) for item in owed if is_for_people(item))
    bundles = {(item.bundle, reader_of(item)) for item in after if item.bundle}

    assert [replace(item, bundle="") for item in after] == owed
    for item in after:
        assert bool(item.bundle) is (is_for_people(item) and (always or count[reader_of(item)] > above))
    assert len({bundle for bundle, _ in bundles}) == len({reader for _, reader in bundles}) == len(bundles)


@often
@given(any_events, reaches(), hours)
def test_quiet_hours_lose_nothing_and_hold_nothing_that_is_sparing(
    happened: list[Event], reach: RoutingContext, hours: QuietHours
) -> None:
    """X06"""
    by_key = {event.key: event for event in happened}
    owed = group_into_digests(notifications_for(happened, reach), above=2)
    until = hours.until(NIGHT)
    for before, after in zip(owed, defer(owed, by_key, hours, NIGHT), strict=True):
        event = by_key[before.event_key]
        is_urgent = event.severity in hours.exempt or event.kind in WORKER_KINDS
        if until is None or not is_for_people(before) or is_urgent:
            assert after == before
        else:
            assert replace(after, not_before=0.0, bundle=before.bundle) == before
            assert (after.not_before, after.bundle[: len(QUIET_HOURS_PREFIX)]) == (until, QUIET_HOURS_PREFIX)
    assert defer(owed, by_key, None, NIGHT) == owed


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), words),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(words, inner, max_size=2)),
    max_leaves=4,
)
NAMES = ("user", "name", "owner", "submitter", "claimed", "tags", "asked_by", "notify", "alerts", "emitted")


@often
@given(events(parts(st.dictionaries(st.sampled_from(NAMES), anything, max_size=3), st.just({}), True)), reaches())
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"user": {"id": 1}}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"notify": {"emails": [BO]}}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"alerts": {"recipients": [BO]}}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_FAILED, "run/1", payload={"submitter": BO, "emitted": False}, emitted=True), PLAIN)
@example(Event(EventKind.JOB_LONG_RUNNING, "run/1", payload={"asked_by": ["job"]}, emitted=True), PLAIN)
def test_route_payload_of_emitted_event_routes_nothing(event: Event, reach: RoutingContext) -> None:
    """C4, X11, C07: whatever the payload holds, `name` for `match.job` aside, the recipients are the same."""
    plain = replace(event, payload={key: value for key, value in event.payload.items() if key == "name"})

    assert notifications_for([event], reach) == notifications_for([plain], reach)
