"""Who must hear."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syftnotify.core.digests import group_into_digests
from syftnotify.core.identifiers import AddressType
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.matching import Route
from syftnotify.core.models import Event
from syftnotify.core.routing import (
    UNVERIFIED_SOURCE,
    RoutingContext,
    TransportInfo,
    built_in_routes,
    notifications_for,
    source_of,
)

OWNER, ANA = "owner@x.org", "ana@y.net"


def reach(peers: frozenset[str] = frozenset(), allow: frozenset[str] = frozenset(), **more: Any) -> RoutingContext:
    settings: dict[str, Any] = {"owner": OWNER, "operators": (), "mail_transport": "mail", **more}
    return RoutingContext(peers=peers, allows=lambda address: address in allow, **settings)


def event(kind: EventKind, entity: str = "job/x", **payload: str) -> Event:
    return Event(kind, entity, "T", payload=payload or {"submitter": ANA})


def told(event: Event, reach: RoutingContext) -> set[tuple[str, str]]:
    return {(item.audience.value, item.recipient) for item in notifications_for([event], reach) if not item.skipped}


def test_the_default_table() -> None:
    """S01"""
    both = {("owner", OWNER), ("submitter", ANA)}
    assert {kind: told(event(kind), reach()) for kind in EventKind if told(event(kind), reach())} == {
        EventKind.JOB_SUBMITTED: both,
        EventKind.JOB_APPROVED: {("submitter", ANA)},
        EventKind.JOB_REJECTED: {("submitter", ANA)},
        EventKind.JOB_COMPLETED: both,
        EventKind.JOB_FAILED: both,
        EventKind.JOB_TIMEOUT: both,
        EventKind.JOB_LONG_RUNNING: {("owner", OWNER)},
        EventKind.JOB_WAITING: {("owner", OWNER)},
        EventKind.PEER_REQUESTED: both,
        EventKind.PEER_GRANTED: {("submitter", ANA)},
        EventKind.HEARTBEAT: {("owner", OWNER)},
        EventKind.SYSTEM_ALERT: {("owner", OWNER)},
    }


def test_scheduler_online_is_told_to_nobody() -> None:
    """G20"""
    assert not EventKind.SCHEDULER_ONLINE.spec.audiences


def test_operators_hear_of_the_notifiers_own_trouble() -> None:
    assert told(event(EventKind.SYSTEM_ALERT), reach(operators=("op@x.org",))) == {
        ("owner", OWNER),
        ("operator", "op@x.org"),
    }


def test_a_claimed_address_is_not_mailed_and_it_is_written_down_why() -> None:
    """X11"""
    claimed = event(EventKind.JOB_APPROVED, claimed="stranger@z.org")
    (item,) = notifications_for([claimed], reach())

    assert item.recipient == "stranger@z.org"
    assert "recipients.allow" in item.skipped


def test_a_claimed_address_is_mailed_when_it_is_a_known_peer_or_allowed() -> None:
    claimed = event(EventKind.JOB_APPROVED, claimed="Ana@y.net")

    assert told(claimed, reach(peers=frozenset({ANA}))) == {("submitter", ANA)}
    assert told(claimed, reach(allow=frozenset({"Ana@y.net"}))) == {("submitter", ANA)}


def test_a_claim_that_is_no_address_reaches_nobody() -> None:
    assert notifications_for([event(EventKind.JOB_APPROVED, claimed="x\nBcc: y@z.org")], reach()) == []


def test_a_folder_whose_name_cannot_be_mailed_is_skipped_with_a_reason() -> None:
    (item,) = notifications_for([event(EventKind.JOB_APPROVED, submitter="a b@c.org")], reach())

    assert item.skipped


def test_one_address_gets_one_mail_whatever_its_roles() -> None:
    """N20"""
    own = event(EventKind.JOB_SUBMITTED, submitter="OWNER@x.org")

    assert told(own, reach()) == {("owner", OWNER)}


def test_a_catch_up_is_the_owners_alone() -> None:
    items = notifications_for([event(EventKind.JOB_SUBMITTED)], reach(), catches_up=True)

    assert [item.audience for item in items] == [Audience.OWNER]


def test_more_than_five_become_one_message_and_five_do_not() -> None:
    def owed(count: int) -> set[str]:
        events = [event(EventKind.JOB_SUBMITTED, f"job/{n}") for n in range(count)]
        return {item.bundle for item in group_into_digests(notifications_for(events, reach(), catches_up=True))}

    assert owed(5) == {""}
    assert len(owed(6)) == 1
    assert "" not in owed(6)


def test_a_catch_up_of_one_is_a_digest_too() -> None:
    (item,) = group_into_digests(
        notifications_for([event(EventKind.JOB_SUBMITTED)], reach(), catches_up=True), always=True
    )

    assert item.bundle


def test_route_withholds_mail_to_an_unknown_submitter() -> None:
    """C1: not what the owner, or a channel of the configuration, is told."""
    team = TransportInfo("team", AddressType.CHANNEL, "slack/team", ("#jobs",))
    routes = (*built_in_routes(), Route("routes[0]", to=("submitter",), transport="team"))
    told_of = reach(routes=routes, transports={"team": team}, is_known=lambda _address: False)
    items = notifications_for([event(EventKind.JOB_SUBMITTED)], told_of)

    assert {item.recipient: bool(item.withheld) for item in items} == {OWNER: False, ANA: True, "#jobs": False}


@pytest.mark.parametrize(
    ("kind", "payload", "routing", "source"),
    [
        (EventKind.JOB_SUBMITTED, {"layout": "D", "submitter": ANA.upper()}, {}, ANA),
        (EventKind.JOB_SUBMITTED, {"layout": "D", "submitter": ANA, "unverified": True}, {}, "-"),
        (EventKind.JOB_SUBMITTED, {"layout": "B2", "submitter": "", "claimed": ANA}, {}, "-"),
        (EventKind.JOB_SUBMITTED, {"layout": "A", "submitter": "", "claimed": ""}, {}, "-"),
        (EventKind.PEER_REQUESTED, {"submitter": ANA}, {}, UNVERIFIED_SOURCE),
        (EventKind.JOB_FAILED, {"submitter": "b@z.org"}, {"user": ANA}, ANA),
        (EventKind.JOB_FAILED, {"submitter": "b@z.org"}, {}, ""),
        (EventKind.SYSTEM_ALERT, {"owner": OWNER}, {}, ""),
    ],
)
def test_route_source_is_who_caused_the_event(
    kind: EventKind, payload: dict[str, Any], routing: dict[str, Any], source: str
) -> None:
    """C3: names that a sender can choose freely share one source, or each would have a limit of its own."""
    caused = Event(kind, "job/x", "T", payload=payload, routing=routing, emitted=kind is EventKind.JOB_FAILED)

    assert {item.source for item in notifications_for([caused], reach(peers=frozenset({ANA})))} <= {source}
    assert source_of(caused) == source


@given(
    st.lists(
        st.tuples(
            st.sampled_from([kind for kind in EventKind if kind.spec.audiences]),
            st.sampled_from("abc"),
            st.sampled_from([ANA, OWNER, "b@z.org"]),
        ),
        max_size=20,
    )
)
def test_nobody_is_owed_the_same_twice(given_events: list[tuple[EventKind, str, str]]) -> None:
    events = [event(kind, f"job/{name}", submitter=submitter) for kind, name, submitter in given_events]
    items = notifications_for(events, reach())

    assert len({(item.event_key, item.medium, item.recipient) for item in items}) == len(items)
    assert [item.id for item in group_into_digests(items)] == [item.id for item in items]
