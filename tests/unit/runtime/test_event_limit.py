"""The limit of events per submitter and minute."""

from __future__ import annotations

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.routing import RoutingContext
from syftnotify.runtime.event_limit import EVENTS_PER_MINUTE, EventLimit
from tests.support import ANA, BO, OWNER

CONTEXT = RoutingContext(OWNER, (), "box", frozenset(), lambda _address: False, is_known=lambda peer: peer in {ANA, BO})


def event(entity: str, submitter: str, occurrence: str = "") -> Event:
    return Event(EventKind.JOB_SUBMITTED, entity, occurrence, payload={"layout": "D", "submitter": submitter})


def test_limit_delays_the_events_of_one_submitter_only() -> None:
    """A13: the events of other submitters are admitted, and no event is lost."""
    limit = EventLimit()
    flood = [event(f"job/{number}", ANA) for number in range(EVENTS_PER_MINUTE + 30)]
    admitted = limit.admit([*flood, event("honest", BO)], CONTEXT, 0.0)

    assert len(admitted) == EVENTS_PER_MINUTE + 1
    assert admitted[-1].entity == "honest"
    assert limit.delayed == 30
    assert limit.pop_ready(59.0) == []
    assert limit.pop_ready(61.0) == [each.entity for each in flood[EVENTS_PER_MINUTE:]]
    assert limit.delayed == 0


def test_limit_is_shared_by_unverified_submitters() -> None:
    """A13, C1: a flood has an invented submitter for each job."""
    flood = [event(f"job/{number}", f"invented{number}@lab.example") for number in range(EVENTS_PER_MINUTE + 20)]
    limit = EventLimit()

    assert len(limit.admit([*flood, event("honest", ANA)], CONTEXT, 0.0)) == EVENTS_PER_MINUTE + 1
    assert limit.delayed == 20


def test_limit_of_one_entity_with_many_occurrences_delays_it_once() -> None:
    """A13: a job that is submitted again at each scan."""
    limit = EventLimit()
    admitted = [
        limit.admit([event("job", ANA, str(number))], CONTEXT, number / 4) for number in range(2 * EVENTS_PER_MINUTE)
    ]

    assert sum(map(len, admitted)) == EVENTS_PER_MINUTE
    assert limit.delayed == 1
    assert limit.pop_ready(120.0) == ["job"]
