"""Promises of routing, for random events, configurations and job requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from syftnotify.core.digests import group_into_digests
from syftnotify.core.kinds import WORKER_KINDS, Audience, EventKind, Severity
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import MAIL, QUIET_HOURS_PREFIX, AlertRule, Event, Notification
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.routing import RoutingContext, matching_routes, notifications_for
from tests.property.routing_model import model_denies, model_key, model_notifications, recipients_of
from tests.property.routing_strategies import (
    PLAIN,
    address_strings,
    any_events,
    contexts,
    emitted,
    events,
    keys,
    many_examples,
    payload_parts,
    rules,
    scanned,
    with_alert_transports,
    without_requests,
)
from tests.support import BO

pytestmark = pytest.mark.thorough


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
    # Otherwise the built-in routes apply.
    assume(event.kind not in WORKER_KINDS or any(is_notified for _, _, is_notified in expected.values()))

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
@given(any_events, contexts())
def test_denied_address_is_notified_as_owner_or_operator_only(
    drawn_events: list[Event], context: RoutingContext
) -> None:
    """X11: whichever route, rule or request names it."""
    notifications = [item for item in notifications_for(drawn_events, context) if not item.skipped]
    named = [item for item in notifications if item.audience not in {Audience.OWNER, Audience.OPERATOR}]

    assert not [item for item in named if model_denies(item.recipient, context)]


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
