"""How the checks read the ledger and the outbox.

The runtime passes it in: services do not import the store. It is in a module of its own, so that a command which only
opens the outbox does not import the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from syftnotify.core.cluster import DatabaseFacts
from syftnotify.core.outbox import OutboxStore


@dataclass(frozen=True, slots=True)
class StateAccess:
    """Read access to the ledger and the outbox of a home. Nothing is repaired."""

    ledger_problem: Callable[[], str]  # returns why the ledger cannot be used; empty if it can
    database_facts: Callable[[], DatabaseFacts | None]  # returns None if the outbox is a file
    require_copied: Callable[[], None]  # raises ConfigError if a database lacks what is in `outbox.db`
    open_outbox: Callable[[], AbstractContextManager[OutboxStore | None]]  # yields None before the first start
