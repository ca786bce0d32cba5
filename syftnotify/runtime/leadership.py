"""Which of several workers scans a tree, and the ledger that it hands over."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from syftnotify.core.cluster import Cluster
from syftnotify.store.ledger.state_file import is_later_save
from syftnotify.system.files import atomic_write, read_regular_file

log = logging.getLogger(__name__)

# A leader that does not renew its claim is replaced after two intervals, so that another one scans within three.
_LEASE_INTERVALS = 2.0
# The next leader detects again what happened since the last save; the outbox recognizes it. So there are few saves.
_SAVE_SECONDS = 60.0
_REPLACED = "another worker scans this tree now; this one stands by"


class Leadership:
    """The claim of this worker to scan the tree of its scope.

    The ledger belongs to the leader. It saves a copy in the database, with which the next leader replaces its own.
    """

    def __init__(
        self, cluster: Cluster, ledger: Path, interval: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`ledger` is the state file, `interval` the seconds between two scans."""
        self._cluster = cluster
        self._ledger = ledger
        self._seconds = _LEASE_INTERVALS * interval
        self._monotonic = monotonic
        self.is_held = False
        self.took_over = False  # whether the ledger was replaced by that of another leader
        self._epoch = 0  # of the last leadership for which the ledger was loaded
        self._saved: tuple[int, int] | None = None  # modification time and size of the last saved ledger
        self._saved_at = -math.inf

    def acquire(self) -> bool:
        """Become the leader, or stay it; returns whether this worker was not before.

        Its own ledger is kept if the one in the database is an earlier save of it, for example in a restored backup.

        Raises:
            StateError: the database cannot be used.
        """
        epoch = self._cluster.leader.acquire(self._seconds)
        if self.is_held and not epoch:
            log.warning(_REPLACED)
        if not epoch or epoch == self._epoch:
            self.is_held = bool(epoch)
            return False
        self.is_held = False  # until the ledger is loaded: another worker may have led meanwhile
        content, own = self._cluster.leader.load_ledger(), self._read()
        self.took_over = content is not None and content != own and not is_later_save(own, content)
        if content is not None and self.took_over:
            atomic_write(self._ledger, content)
        self.is_held, self._epoch = True, epoch  # not before: nothing may be scanned without the last leader's ledger
        log.info("this worker scans the tree")
        return True

    def release(self) -> None:
        """Let another worker lead. Raises: StateError."""
        self.is_held, self._epoch = False, 0
        self._cluster.leader.release()

    def save(self, *, is_last: bool = False) -> None:
        """Save the ledger for the next leader, at most once a minute; `is_last`: now.

        Raises:
            StateError: the database cannot be used.
        """
        if not self.is_held or not (is_last or self._monotonic() - self._saved_at >= _SAVE_SECONDS):
            return
        try:
            found = self._ledger.stat()
        except FileNotFoundError:
            return
        version = (found.st_mtime_ns, found.st_size)
        if version != self._saved:
            self.is_held = self._cluster.leader.save_ledger(self._read())
            if not self.is_held:
                log.warning(_REPLACED)
            self._saved, self._saved_at = version, self._monotonic()

    def _read(self) -> bytes:
        try:
            return read_regular_file(self._ledger)
        except FileNotFoundError:
            return b""
