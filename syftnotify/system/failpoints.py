"""Fail-points: named places between two steps where a test can kill the worker.

The chaos run kills real workers at every one of them (`python -m tests.chaos`). In production `on_reach` is unset, and
a fail-point costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = frozenset(
    {
        "worker.locked",  # the lock is acquired, nothing has been read
        "tick.scanned",  # the tree is scanned, nothing is written
        "outbox.enqueued",  # the notifications are in the outbox, the ledger is not updated
        "ledger.backed_up",  # the previous ledger is also the backup, the new one is not written
        "file.written",  # a file is complete under its temporary name
        "file.renamed",  # the file has its final name, its folder is not synced
        "ledger.saved",
        "attempt.claimed",  # the row of the attempt is written, nothing has been sent
        "smtp.dot",  # the final dot is sent, no reply has been read
        "attempt.sent",  # the server has the message, the outcome is not recorded
        "attempt.recorded",  # the outcome is in the outbox, the ledger still has the event as owed
        "tick.synced",  # outbox and ledger agree
    }
)

# Called with the name of each fail-point that is reached; it may end the process.
on_reach: Callable[[str], None] | None = None


def reached(point: str) -> None:
    """Call `on_reach`, if it is set."""
    if on_reach is not None:
        on_reach(point)
