"""Recording in the ledger of what is enqueued in the outbox, and of what is finished there."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from syftnotify.core.detection import Changes
from syftnotify.core.outbox import OutboxStore
from syftnotify.runtime.job_changes import record_marks
from syftnotify.runtime.recovery import Recovery
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.store.ledger.index import Ledger

log = logging.getLogger(__name__)


class LedgerSync:
    """Records enqueued events as owed, and finished ones as notified."""

    def __init__(self, ledger: Ledger, outbox: OutboxStore, recovery: Recovery) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._recovery = recovery
        # The read count of the ledger at the last comparison with all of it. While it is the same, only events that
        # have changed in the outbox are compared.
        self._compared_at = -1

    def reset(self) -> None:
        """Compare everything at the next `sync`, after the ledger or the outbox was replaced."""
        self._compared_at = -1

    def record(self, changes: Changes, report: ScanReport, baselines: Iterable[str], now: float) -> None:
        """Record the events of a scan; `baselines` are the scopes whose baseline ends with it."""
        ledger = self._ledger
        owing = {item.event_key for item in report.notifications if not (item.skipped or item.withheld)}
        record_marks(ledger, changes.marks)
        for event in report.events:
            mark = ledger.mark_owed if event.key in owing else ledger.mark_settled
            mark(event.entity, event.kind, event.occurrence)
        for (entity, submission), count in changes.reruns.items():
            ledger.set_rerun_count(entity, submission, count)
        for entity, end_mark in changes.end_marks.items():
            ledger.set_end_mark(entity, end_mark)
        ledger.update_unreadable(changes.unreadable, changes.readable)
        ledger.record_reappeared(changes.reappeared, changes.stable, now)
        for scope in baselines:
            if not ledger.baseline(scope):
                ledger.record_baseline(scope, datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"))
                log.info("the baseline of %s is recorded", scope)

    def sync(self) -> None:
        """Record finished events as notified; saves the ledger once, if anything has changed."""
        dirty, read_count = self._outbox.events.pop_dirty(), self._ledger.read_count
        try:
            if read_count != self._compared_at:
                self._recovery.finish(self._outbox.events.for_entities(self._ledger.owed()))
                self._recovery.finish_emitted(self._ledger.owed_emitted_keys())
            elif dirty:
                self._recovery.finish(self._outbox.events.find(dirty))
                self._recovery.finish_emitted(dirty)
            self._recovery.record_progress()
            self._ledger.save()
        except BaseException:  # raised again; the next call needs the keys
            self._outbox.events.mark_dirty(dirty)
            raise
        self._compared_at = read_count
