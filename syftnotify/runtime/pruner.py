"""Deletes history that is older than `retention`."""

from __future__ import annotations

import logging

from syftnotify.core.history import History
from syftnotify.store.ledger.index import Ledger

log = logging.getLogger(__name__)

_INTERVAL = 3600.0  # seconds between two passes
_CHUNK = 1000  # events deleted at one scan


class Pruner:
    """Deletes old events in chunks, one at each scan, so that no scan takes long."""

    def __init__(self, history: History, ledger: Ledger, retention: float | None) -> None:
        """`retention` is in seconds; None keeps everything."""
        self._history = history
        self._ledger = ledger
        self._retention = retention
        self._due_at = 0.0  # seconds since 1970

    def run(self, now: float) -> None:
        """Delete the next chunk, if it is due."""
        # A clock that was set back does not delay it.
        if self._retention is None or 0 < self._due_at - now <= _INTERVAL:
            return
        count = self._history.prune(now - self._retention, now, exempt=self._ledger.owed(), limit=_CHUNK)
        if count:
            log.info("deleted %d events that were older than `retention`", count)
        self._due_at = now if count == _CHUNK else now + _INTERVAL
