"""Named points between two steps at which a test can kill the worker.

The chaos run kills real workers at every one of them (`python -m tests.chaos`). In production `on_reach` is unset, and
reaching a point costs a comparison.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = frozenset(
    {
        "worker.locked",  # the home is ours, nothing has been read
        "tick.looked",  # the tree was read, nothing is written down
        "outbox.put",  # what is owed is in the outbox, the ledger does not know
        "ledger.backed_up",  # the good old ledger is also the backup, the new one is not written
        "file.written",  # a file of ours is whole under its temporary name
        "file.renamed",  # it has its name, the folder is not synced
        "ledger.saved",
        "attempt.claimed",  # the attempt's row says "started", nothing has left
        "smtp.dot",  # the final dot went out, no answer was read
        "attempt.handed_over",  # the other side has the message, the outbox does not know
        "attempt.recorded",  # the outbox knows, the ledger still says "owed"
        "tick.settled",
    }
)

# Called with the name of each point that is reached; need not return.
on_reach: Callable[[str], None] | None = None


def reached(point: str) -> None:
    """Call `on_reach`, if it is set."""
    if on_reach is not None:
        on_reach(point)
