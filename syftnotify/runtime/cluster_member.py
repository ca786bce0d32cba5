"""What a worker does because others share its outbox."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from syftnotify.core.outbox import OutboxStore
from syftnotify.core.text import plural
from syftnotify.runtime.container import App, apply_settings_to_queue
from syftnotify.runtime.leadership import Leadership
from syftnotify.system import worker_status

log = logging.getLogger(__name__)

RECOVERY_SECONDS = 10.0  # between two searches for dead workers


class ClusterMember:
    """The share of one worker in the work of all. The only worker of an outbox leads, and has nothing else to do."""

    def __init__(self, app: App, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._monotonic = monotonic
        self._recovered_at = monotonic()
        self._leadership: Leadership | None = None
        self._must_begin = False  # this worker leads, and has not begun yet, for example because of an error
        if app.outbox.cluster is not None:
            interval = float(app.settings.config.notify.interval)
            self._leadership = Leadership(app.outbox.cluster, app.settings.home.state, interval)

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
        if self._leadership.acquire():
            self._must_begin = True
        if not (self._must_begin and self.leads):
            return False
        self._app.pipeline.reset()
        apply_settings_to_queue(self._app.settings, self._app.outbox)
        self._must_begin = False
        return True

    def save_ledger(self, *, is_last: bool = False) -> None:
        """Save the ledger for the next leader, now and then; `is_last`: now. Raises: StateError."""
        if self._leadership is not None:
            self._leadership.save(is_last=is_last)

    def finish(self) -> None:
        """Save what this worker knows, before it ends. Raises: StateError.

        One that stands by must not take over what has ended: the ledger of the leader records it.
        """
        if not self.leads:
            return
        self._app.pipeline.sync_ledger()
        self._app.pipeline.save_scan_cache()
        self.save_ledger(is_last=True)

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
