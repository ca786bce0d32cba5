"""What a worker does because others share its outbox."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from syftnotify.core.cluster import WorkerRecord
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import plural
from syftnotify.runtime.container import App, apply_settings_to_queue
from syftnotify.runtime.leadership import Leadership
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.system import worker_status

log = logging.getLogger(__name__)

RECOVERY_SECONDS = 10.0  # between two searches for dead workers
# After so many scans in a row that failed or found no SyftBox folder, a leader lets another worker of its home lead.
_MAX_UNFINISHED_SCANS = 3
_STAND_BACK_INTERVALS = 10.0  # for which it does not lead again, if another worker does
_TAKEOVER_INTERVALS = 3.0  # in which another worker leads, if it can


class ClusterMember:
    """The share of one worker in the work of all. The only worker of an outbox leads, and has nothing else to do."""

    def __init__(self, app: App, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._monotonic = monotonic
        self._recovered_at = monotonic()
        self._leadership: Leadership | None = None
        self._must_begin = False  # this worker leads, and has not begun yet, for example because of an error
        self._unfinished_scans = 0  # in a row, as the leader
        self._stepped_back_at = -math.inf  # on the monotonic clock
        if app.outbox.cluster is not None:
            self._interval = float(app.settings.config.notify.interval)
            self._leadership = Leadership(app.outbox.cluster, app.settings.home.state, self._interval)

    @property
    def leads(self) -> bool:
        """Whether this worker scans the tree."""
        return self._leadership is None or self._leadership.is_held

    @property
    def role(self) -> str:
        """For the status; empty if there are no others."""
        if self._leadership is None:
            return ""
        return worker_status.LEADER if self.leads else worker_status.STANDBY

    def begin_scan(self) -> bool:
        """Find out whether this worker leads; returns whether it does so from now on, and must scan everything.

        Raises:
            StateError: the outbox cannot be used.
        """
        if self._leadership is None:
            return False
        self._app.dispatcher.refresh_pauses()
        if self._unfinished_scans >= _MAX_UNFINISHED_SCANS and self._has_substitute():
            log.warning("the last %d scans were not completed; another worker may lead", self._unfinished_scans)
            self._unfinished_scans = 0
            self._stepped_back_at = self._monotonic()
            self._leadership.release()
        if self._stands_back():
            return False
        self._unfinished_scans += 1
        if self._leadership.acquire():
            self._must_begin = True
        if not self.leads:
            self._unfinished_scans = 0
        if not (self._must_begin and self.leads):
            return False
        if self._leadership.took_over:
            self._app.ledger.invalidate_revision()  # from now on its saves are not those of the last leader
        self._app.pipeline.reset()
        apply_settings_to_queue(self._app.settings, self._app.outbox)
        self._must_begin = False
        return True

    def finish_scan(self, report: ScanReport, *, is_last: bool = False) -> None:
        """Record a scan, and save the ledger for the next leader, now and then; `is_last`: now. Raises: StateError."""
        if not report.waiting_for:
            self._unfinished_scans = 0
        if self._leadership is not None:
            self._leadership.save(is_last=is_last)

    def progress(self, then: Callable[[int, int], None] | None) -> Callable[[int, int], None] | None:
        """A function for the progress of a scan, which calls `then`."""
        cluster = self._app.outbox.cluster
        if cluster is None:
            return then

        def record(scanned: int, total: int) -> None:
            cluster.leader.extend()
            if then is not None:
                then(scanned, total)

        return record

    def _stands_back(self) -> bool:
        """Whether this worker leaves the tree to another one, although it could lead."""
        intervals = (self._monotonic() - self._stepped_back_at) / self._interval
        if intervals < _TAKEOVER_INTERVALS:
            return True
        return intervals < _STAND_BACK_INTERVALS and any(other.is_leader for other in self._others())

    def _has_substitute(self) -> bool:
        """Whether another worker of this home could lead."""
        return any(other.scans for other in self._others())

    def _others(self) -> list[WorkerRecord]:
        """The other workers of this home."""
        cluster = self._app.outbox.cluster
        assert cluster is not None  # for mypy
        own = cluster.join()
        return [each for each in cluster.workers() if each.id != own and each.scope == cluster.scope]

    def finish(self) -> None:
        """Save what this worker knows, before it ends. Raises: StateError.

        One that stands by must not take over what has ended: the ledger of the leader records it.
        """
        if not self.leads:
            return
        self._app.pipeline.sync_ledger()
        self._app.pipeline.save_scan_cache()
        if self._leadership is not None:
            self._leadership.save(is_last=True)

    def seconds_until_recovery(self) -> float:
        """Seconds until `recover` has something to do; infinite if there are no others."""
        if self._leadership is None:
            return math.inf
        return max(0.0, self._recovered_at + RECOVERY_SECONDS - self._monotonic())

    def recover(self) -> None:
        """Record as unknown what dead workers were sending. Raises: StateError."""
        self._recovered_at = self._monotonic()
        recover(self._app.outbox, self._app.clock())


def recover(outbox: OutboxStore, now: float) -> None:
    """Record as unknown what dead workers were sending, or the last worker of a file. Raises: StateError."""
    if count := outbox.queue.recover(now):
        whose = "the last worker" if outbox.cluster is None else "other workers"
        log.warning("notification: %s of %s were cut off and may have been delivered", plural(count, "attempt"), whose)
