"""For how long a worker of a database counts as alive, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass

from syftnotify.store.outbox.postgres.schema import TABLES_SCHEMA

WORKERS = f"{TABLES_SCHEMA}.workers"


def lock_key(worker: str) -> str:
    """The key of the advisory lock that a worker holds; `worker` is the expression of its number."""
    return f"hashtextextended('syftnotify worker ' || {worker}, 0)"


@dataclass(frozen=True, slots=True)
class Lease:
    """For how long a worker counts as alive."""

    seconds: float = 60.0  # without a renewal
    renewal: float = 5.0  # seconds between two renewals
    # Seconds without a renewal after which a worker whose lock is free is dead, and seconds for which another worker
    # must have renewed its own lease without a break before it decides that a worker is dead: after a restart or a
    # stall of the database, all workers must connect again first.
    patience: float = 15.0
    # A scan without progress for so long may never end, for example on a disk that was unplugged: another worker takes
    # over.
    longest_scan: float = 300.0
