"""Grouping of notifications into digests."""

from __future__ import annotations

from syftnotify.core.digests import group_into_digests
from syftnotify.core.kinds import EventKind
from syftnotify.core.routing import (
    notifications_for,
)
from tests.unit.core.routing_contexts import context, event


def test_group_into_digests_above_five_notifications() -> None:
    def bundles(count: int) -> set[str]:
        events = [event(EventKind.JOB_SUBMITTED, f"job/{n}") for n in range(count)]
        return {item.bundle for item in group_into_digests(notifications_for(events, context(), catches_up=True))}

    assert bundles(5) == {""}
    assert len(bundles(6)) == 1
    assert "" not in bundles(6)


def test_group_into_digests_always_includes_a_single_one() -> None:
    (item,) = group_into_digests(
        notifications_for([event(EventKind.JOB_SUBMITTED)], context(), catches_up=True), always=True
    )

    assert item.bundle
