"""What all requests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from syftnotify.config.load import Settings
from syftnotify.core.outbox import OutboxStore
from syftnotify.runtime.opening import read_ledger
from syftnotify.services.creation import Idempotency
from syftnotify.services.history import NotifiedLedger
from syftnotify.system.paths import Home

if TYPE_CHECKING:
    from syftnotify.web.access import RateLimits
    from syftnotify.web.stream import StreamHub


@dataclass(frozen=True, slots=True)
class ServerState:
    """The parts of one server."""

    home: Home
    settings: Settings
    outbox: OutboxStore
    hub: StreamHub
    limits: RateLimits
    idempotency: Idempotency
    is_stopping: Callable[[], bool]
    page_url: str  # address of the page, as mails name it
    page_hosts: frozenset[str]  # names of this server in addresses of the page

    def ledger(self) -> NotifiedLedger | None:
        """The ledger as it is now; None if it is damaged."""
        return read_ledger(self.home)


def state_of(request: Request) -> ServerState:
    """The state of the server of a request."""
    found: ServerState = request.app.state.server
    return found


State = Annotated[ServerState, Depends(state_of)]
