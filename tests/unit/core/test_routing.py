"""Routing: who is notified of what by default."""

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
from tests.unit.core.routing_contexts import ANA, OWNER, context, event


def notified(event: Event, context: RoutingContext) -> set[tuple[str, str]]:
    return {(item.audience.value, item.recipient) for item in notifications_for([event], context) if not item.skipped}


def test_built_in_routes_notify_owner_and_submitter() -> None:
    """S01"""
    both = {("owner", OWNER), ("submitter", ANA)}
    assert {kind: notified(event(kind), context()) for kind in EventKind if notified(event(kind), context())} == {
        EventKind.JOB_SUBMITTED: both,
        EventKind.JOB_APPROVED: {("submitter", ANA)},
        EventKind.JOB_REJECTED: {("submitter", ANA)},
        EventKind.JOB_COMPLETED: both,
        EventKind.JOB_FAILED: both,
        EventKind.JOB_TIMEOUT: both,
        EventKind.JOB_LONG_RUNNING: {("owner", OWNER)},
        EventKind.JOB_WAITING: {("owner", OWNER)},
        EventKind.JOB_FILES_CHANGED: {("owner", OWNER)},
        EventKind.PEER_REQUESTED: both,
        EventKind.PEER_GRANTED: {("submitter", ANA)},
        EventKind.HEARTBEAT: {("owner", OWNER)},
        EventKind.SYSTEM_ALERT: {("owner", OWNER)},
    }


def test_scheduler_online_has_no_audience() -> None:
    """G20"""
    assert not EventKind.SCHEDULER_ONLINE.spec.audiences


def test_system_alert_notifies_owner_and_operators() -> None:
    assert notified(event(EventKind.SYSTEM_ALERT), context(operators=("op@x.org",))) == {
        ("owner", OWNER),
        ("operator", "op@x.org"),
    }


def test_claimed_address_is_skipped_with_a_reason() -> None:
    """X11"""
    claimed = event(EventKind.JOB_APPROVED, claimed="stranger@z.org")
    (item,) = notifications_for([claimed], context())

    assert item.recipient == "stranger@z.org"
    assert "recipients.allow" in item.skipped


def test_claimed_address_of_a_peer_or_allowed_is_notified() -> None:
    claimed = event(EventKind.JOB_APPROVED, claimed="Ana@y.net")

    assert notified(claimed, context(peers=frozenset({ANA}))) == {("submitter", ANA)}
    assert notified(claimed, context(allow=frozenset({"Ana@y.net"}))) == {("submitter", ANA)}


def test_claim_that_is_no_address_notifies_nobody() -> None:
    assert notifications_for([event(EventKind.JOB_APPROVED, claimed="x\nBcc: y@z.org")], context()) == []


def test_submitter_that_is_no_address_is_skipped_with_a_reason() -> None:
    (item,) = notifications_for([event(EventKind.JOB_APPROVED, submitter="a b@c.org")], context())

    assert item.skipped


def test_address_in_two_roles_is_notified_once() -> None:
    """N20"""
    own = event(EventKind.JOB_SUBMITTED, submitter="OWNER@x.org")

    assert notified(own, context()) == {("owner", OWNER)}


def test_catch_up_notifies_the_owner_only() -> None:
    items = notifications_for([event(EventKind.JOB_SUBMITTED)], context(), catches_up=True)

    assert [item.audience for item in items] == [Audience.OWNER]


def test_unknown_submitter_is_withheld() -> None:
    """C1: notifications to the owner and to configured channels are not withheld."""
    team = TransportInfo("team", AddressType.CHANNEL, "slack/team", ("#jobs",))
    routes = (*built_in_routes(), Route("routes[0]", to=("submitter",), transport="team"))
    team_context = context(routes=routes, transports={"team": team}, is_known=lambda _address: False)
    items = notifications_for([event(EventKind.JOB_SUBMITTED)], team_context)

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
def test_source_is_who_caused_the_event(
    kind: EventKind, payload: dict[str, Any], routing: dict[str, Any], source: str
) -> None:
    """C3: names that a sender can choose freely share one source, or each would have a limit of its own."""
    caused = Event(kind, "job/x", "T", payload=payload, routing=routing, emitted=kind is EventKind.JOB_FAILED)

    assert {item.source for item in notifications_for([caused], context(peers=frozenset({ANA})))} <= {source}
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
def test_notifications_are_unique_by_event_medium_and_recipient(given_events: list[tuple[EventKind, str, str]]) -> None:
    events = [event(kind, f"job/{name}", submitter=submitter) for kind, name, submitter in given_events]
    items = notifications_for(events, context())

    assert len({(item.event_key, item.medium, item.recipient) for item in items}) == len(items)
    assert [item.id for item in group_into_digests(items)] == [item.id for item in items]


@pytest.mark.parametrize("role", ["submitter", "operator"])
def test_configured_route_cannot_silence_a_system_alert(role: str) -> None:
    """X07: nor can one that matches every event and names a role without members."""
    configured = context(routes=(Route("all", to=(role,)),))

    assert notified(event(EventKind.SYSTEM_ALERT, summary="failed"), configured)
