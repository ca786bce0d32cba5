"""What the checks may open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from syftnotify.core.outbox import OutboxStore


@dataclass(frozen=True, slots=True)
class StateAccess:
    """Access to the state of a home, without repairing it."""

    ledger_problem: Callable[[], str]  # why the ledger cannot be used; empty if it can
    open_outbox: Callable[[], AbstractContextManager[OutboxStore | None]]  # None: there is none yet
