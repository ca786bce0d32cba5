"""One tick: scan, detect, plan notifications, enqueue, record.

Everything is written down before it is acted on. If the process is killed between any two steps, the next tick finds
the same facts, and the unique key of the outbox absorbs the repetition.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from syftnotify.core.detection import Changes
from syftnotify.core.kinds import END_KINDS, EventKind, Status
from syftnotify.core.models import Event, Peer, SnapshotStatus
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.routing import RoutingContext, notifications_for
from syftnotify.core.submissions import Decision
from syftnotify.runtime.emitted_events import EmittedEvents
from syftnotify.runtime.event_limit import EventLimit
from syftnotify.runtime.file_changes import FileChanges
from syftnotify.runtime.job_changes import DetectedJobs, JobChanges, ScanOptions, submission_of
from syftnotify.runtime.ledger_sync import LedgerSync
from syftnotify.runtime.peer_changes import PeerChanges
from syftnotify.runtime.pending_decisions import PendingDecisions
from syftnotify.runtime.planner import NotificationPlanner
from syftnotify.runtime.pruner import Pruner
from syftnotify.runtime.recipients import RecipientLimit
from syftnotify.runtime.recovery import Recovery
from syftnotify.runtime.routing_context import RoutingContextBuilder
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.store.ledger.index import Ledger
from syftnotify.system.failpoints import reached

log = logging.getLogger(__name__)

# After a longer time without a finished scan, many notifications to one recipient become one digest.
DOWNTIME_SECONDS = 3600.0
# A scan reads changed jobs for this long, and leaves the rest to the next scan.
READ_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where events come from."""

    jobs: JobChanges
    peers: PeerChanges
    emitted: EmittedEvents
    root_problem: Callable[[], str]  # returns why the SyftBox folder cannot be scanned; empty if it can


@dataclass(frozen=True, slots=True)
class Storage:
    """The ledger and the outbox, and the parts that need both."""

    ledger: Ledger
    outbox: OutboxStore
    recovery: Recovery
    pruner: Pruner


@dataclass(frozen=True, slots=True)
class Planning:
    """How events become notifications."""

    routing: RoutingContextBuilder
    planner: NotificationPlanner
    file_changes: FileChanges | None  # None: files are not compared
    recipients: RecipientLimit
    quiet_hours: QuietHours | None


@dataclass(frozen=True, slots=True)
class _Recordable:
    """The results of a scan that are recorded but not in its report."""

    changes: Changes
    vanished: set[str]  # entities of jobs
    context: RoutingContext
    peers: list[Peer]


class Pipeline:
    """Scans the sources of one home, and enqueues and records what they report."""

    def __init__(self, sources: Sources, storage: Storage, planning: Planning) -> None:
        self._jobs = sources.jobs
        self._peers = sources.peers
        self._emitted = sources.emitted
        self._root_problem = sources.root_problem
        self._ledger = storage.ledger
        self._outbox = storage.outbox
        self._recovery = storage.recovery
        self._pruner = storage.pruner
        self._sync = LedgerSync(storage.ledger, storage.outbox, storage.recovery)
        self._routing = planning.routing
        self._planner = planning.planner
        self._file_changes = planning.file_changes
        self._recipients = planning.recipients
        self._quiet_hours = planning.quiet_hours
        self._decisions = PendingDecisions(storage.outbox.decisions)
        self._event_limit = EventLimit()
        self._last_notified: dict[str, EventKind] = {}  # by entity, from the outbox, after the ledger was lost

    def watch_specs(self) -> list[WatchSpec]:
        """The folders to watch besides those of jobs."""
        return [*self._emitted.watch_specs(), *self._peers.watch_specs()]

    @property
    def peers_status(self) -> SnapshotStatus | None:
        """The sync snapshot in use at the last scan; None if peers are not monitored by one."""
        return self._peers.status

    @property
    def lost_events(self) -> list[str]:
        """Keys of emitted events that were lost with the outbox, until `forget_lost_events`."""
        return self._recovery.lost_emitted

    def forget_lost_events(self) -> None:
        """Clear `lost_events`, once the owner was alerted about them."""
        self._recovery.forget_lost()

    def count(self) -> ScanReport:
        """Count jobs and peers without recording or notifying anything, as with `notify.enabled: false`."""
        if problem := self._root_problem():
            return ScanReport(waiting_for=problem)
        jobs = self._jobs.count()
        return ScanReport(jobs=jobs.count, peers=self._peers.count(), problems=jobs.problems)

    def tick(
        self,
        now: float,
        *,
        last_scan: float | None,
        changed_paths: Collection[str] | None = None,
        skip_archived: bool = False,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ScanReport:
        """Scan, and enqueue the notifications about what has changed.

        Args:
            now: seconds since 1970.
            last_scan: when the last tick ended; None: unknown.
            changed_paths: where something has changed; None: scan everything.
            skip_archived: leave archived jobs to the next scan.
            dry_run: change nothing.
            progress: called with the number of jobs read so far, and of those to read.

        Raises:
            StateError: the ledger or the outbox cannot be used. Nothing was recorded; the next tick finds it all again.
        """
        self._prepare(now, last_scan)
        after_downtime = last_scan is None or now - last_scan > DOWNTIME_SECONDS
        # There was no downtime before the very first scan: its emitted events are not grouped.
        emitted = self._enqueue_emitted(now, group=after_downtime and last_scan is not None, dry_run=dry_run)
        if problem := self._root_problem():
            if not dry_run:
                self._jobs.record_missing_tree()
                self.sync_ledger()
            emitted.waiting_for = problem
            return emitted
        # Jobs that a baseline scan leaves out would be reported as new later, and those that a scan after downtime
        # leaves out would not be in its digest.
        seconds = READ_SECONDS if self._jobs.has_scanned and not after_downtime else math.inf
        options = ScanOptions(changed_paths, skip_archived, seconds, progress)
        report, changes = self._scan(options, now, after_downtime=after_downtime, dry_run=dry_run)
        cluster = self._outbox.cluster
        if not dry_run and cluster is not None and cluster.leader.is_taken():
            log.warning("another worker scans this tree now; the changes that this scan found are left to it")
            return emitted
        if not dry_run:
            self._record(report, changes, now)
        report.add(emitted)
        return report

    def reset(self) -> None:
        """Compare everything with the ledger and the outbox at the next tick, because one of them was replaced."""
        self._sync.reset()
        self._decisions.reset()
        self._event_limit.clear()
        self._emitted.clear_cache()
        self._jobs.clear()

    def tick_beside_leader(self, now: float) -> ScanReport:
        """Enqueue the events that were emitted on this machine, while another worker scans the tree.

        The ledger, which is the leader's, does not record them as owed.

        Raises:
            StateError: the outbox cannot be used; the events stay in the spool.
        """
        self._routing.refresh(now, None)
        found = self._emitted.enqueue(now, self._context(now), group=False, reminds=False)
        return ScanReport(events=found.events, notifications=found.notifications, rescan_soon=not found.is_complete)

    def enqueue_worker_event(self, event: Event, now: float, *, transport: str = "") -> None:
        """Enqueue an event about the worker itself; all notifications go through `transport`, if it is given."""
        notifications = notifications_for([event], self._context(now), transport=transport)
        self._outbox.enqueue([event], defer(notifications, {event.key: event}, self._quiet_hours, now), now)
        log.info("detected %s %s", event.kind.value, event.entity)

    def sync_ledger(self) -> None:
        """Record finished events in the ledger, and save it if anything has changed."""
        self._sync.sync()

    def save_scan_cache(self) -> None:
        """Write the scan cache for the next process, if it has changed."""
        if not self._event_limit.delayed:
            self._jobs.save_cache()

    def _scan(
        self, options: ScanOptions, now: float, *, after_downtime: bool, dry_run: bool
    ) -> tuple[ScanReport, _Recordable]:
        self._jobs.invalidate(self._event_limit.pop_ready(now))
        jobs = self._jobs.detect(options, now, last_notified=self._last_notified, dry_run=dry_run)
        peers = self._peers.scan()
        changes = jobs.changes
        context = self._context(now, peers)
        report = ScanReport(jobs=jobs.scan.count, peers=len(peers), problems=jobs.scan.problems)
        if not after_downtime:
            changes.events = self._event_limit.admit(changes.events, context, now)
        report.delayed = self._event_limit.delayed
        report.rescan_soon = jobs.scan.rescan_soon or bool(report.delayed)
        changes.add(self._peers.detect(peers, last_notified=self._last_notified))
        self._jobs.remind(changes, context, now)
        self._detect_file_changes(report, jobs, now)
        self._planner.plan(report, changes, jobs.by_submission, context, after_downtime=after_downtime, now=now)
        self._planner.limit_recipients(report, context, now, dry_run=dry_run)
        return report, _Recordable(changes, jobs.scan.vanished, context, peers)

    def _detect_file_changes(self, report: ScanReport, jobs: DetectedJobs, now: float) -> None:
        """Add the events about changed files; during the baseline scan the files are not compared."""
        if self._file_changes is None or not self._jobs.has_baseline:
            return
        new = {event.entity for event in jobs.changes.events if event.kind is EventKind.JOB_SUBMITTED}
        found = self._file_changes.detect(self._jobs.unfinished, jobs.by_submission.values(), new, now)
        jobs.changes.events += found.events
        report.changed_submissions += found.submissions
        report.rescan_soon = report.rescan_soon or found.rescan_soon

    def _record(self, report: ScanReport, found: _Recordable, now: float) -> None:
        """Enqueue and record the result of a scan."""
        reached("tick.scanned")
        # After a change of the leader the ledger lacks what the last one has enqueued since it was saved.
        is_shared = self._outbox.cluster is not None and bool(report.events)
        known = self._outbox.events.known(event.key for event in report.events) if is_shared else set()
        self._outbox.submissions.record(report.new_submissions, [], now)
        self._enqueue(report, now)
        self._record_submissions(report, now)
        self._sync.record(found.changes, report, self._baseline_scopes(), now)
        self._peers.record(found.changes)
        self._expire_alert_rules(found.context, now)
        self._jobs.record_vanished(found.vanished)
        self._record_decisions(found.peers, now)
        self.sync_ledger()
        self._pruner.run(now)
        reached("tick.synced")
        # A delayed job must be read again after a restart, so it must not be in the scan cache.
        self._jobs.accept(now, may_cache=not self._event_limit.delayed)
        for event in report.events:
            if event.key not in known:
                log.info("detected %s %s", event.kind.value, event.entity)

    def _prepare(self, now: float, last_scan: float | None) -> None:
        """Read what other processes changed. After a start, or a loss of ledger or outbox, reconcile the two."""
        self._ledger.refresh()
        is_lost = self._outbox.reopen_if_replaced()
        scopes = self._baseline_scopes()
        if self._jobs.has_scanned and not all(self._ledger.baseline(scope) for scope in scopes):
            log.warning("the state file was lost while it was in use")
            is_lost = True
        if is_lost:
            self.reset()
        if not self._jobs.has_scanned:
            has_baseline = any(self._ledger.baseline(scope) for scope in scopes)
            self._last_notified = self._recovery.run(now, is_baseline_done=has_baseline)
            if not is_lost:
                self._jobs.restore()
        self._routing.refresh(now, last_scan)  # reads the outbox, which may have been reopened above

    def _enqueue_emitted(self, now: float, *, group: bool, dry_run: bool) -> ScanReport:
        found = self._emitted.enqueue(now, self._context(now), group=group, dry_run=dry_run)
        owing = {item.event_key for item in found.notifications if not item.skipped}
        if not dry_run:
            self._recovery.record_emitted(event.key for event in found.events if event.key in owing)
        return ScanReport(events=found.events, notifications=found.notifications, rescan_soon=not found.is_complete)

    def _enqueue(self, report: ScanReport, now: float) -> None:
        uncertain = self._recovery.uncertain_keys(report.events)
        self._outbox.enqueue(report.events, report.notifications, now, uncertain=uncertain, newcomers=report.newcomers)
        self._recovery.record_enqueued(report.events)
        if report.excess:
            self.enqueue_worker_event(self._recipients.alert(report.excess, now), now)

    def _record_submissions(self, report: ScanReport, now: float) -> None:
        """Store copies of changed submissions, and the owner's decisions."""
        decisions = [
            Decision(*submission_of(event), status, str(event.payload.get("reason") or ""), event.at)
            for event in report.events
            if (status := event.kind.spec.status_after) in {Status.APPROVED, Status.REJECTED}
        ]
        ran = [submission_of(event) for event in report.events if event.kind in END_KINDS]
        self._outbox.submissions.record(report.changed_submissions, decisions, now, ran=ran)
        if self._file_changes is not None:
            self._file_changes.accept()

    def _record_decisions(self, peers: list[Peer], now: float) -> None:
        """Record what waits for the owner; a scientist decides nothing."""
        if self._file_changes is None:
            self._decisions.record({}, [], now)
        else:
            self._decisions.record(self._jobs.waiting, self._peers.pending(peers, now), now)

    def _expire_alert_rules(self, context: RoutingContext, now: float) -> None:
        """Delete rules about a single job some time after the job is gone."""
        rules = [rule for rule in context.alerts if rule.is_for_one_job]
        presence = self._jobs.presence(rules)
        if presence:
            for rule_id in self._outbox.alert_rules.expire(presence, now):
                log.info("alert rule %s is deleted: its job is gone", rule_id)

    def _context(self, now: float, peers: list[Peer] | None = None) -> RoutingContext:
        """The routing context at `now`. Without `peers`, it is only for events that need no verified addresses."""
        if peers is None:
            return self._routing.build(frozenset(), lambda _address: False, now)
        added = frozenset(peer.address for peer in peers if peer.added)
        present = frozenset(peer.address for peer in peers)
        return self._routing.build(added, lambda address: self._peers.is_recorded(address, present), now)

    def _baseline_scopes(self) -> list[str]:
        return [scope for scope in (self._jobs.baseline_scope, self._peers.baseline_scope) if scope]
