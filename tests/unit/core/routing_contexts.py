"""Events and contexts for tests of routing."""

from __future__ import annotations

from typing import Any

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import Event
from syftnotify.core.routing import (
    RoutingContext,
)

OWNER, ANA = "owner@x.org", "ana@y.net"


def context(peers: frozenset[str] = frozenset(), allow: frozenset[str] = frozenset(), **more: Any) -> RoutingContext:
    settings: dict[str, Any] = {"owner": OWNER, "operators": (), "mail_transport": "mail", **more}
    return RoutingContext(peers=peers, allows=lambda address: address in allow, **settings)


def event(kind: EventKind, entity: str = "job/x", **payload: str) -> Event:
    return Event(kind, entity, "T", payload=payload or {"submitter": ANA})
