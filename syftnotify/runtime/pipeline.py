"""In which order do the rooms work? One tick: observe, note what is new, put it into the outbox, mark it.

Written down before acted on: killed between any two steps, the next tick finds the same facts, and the outbox's unique
key absorbs the repetition.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from syftnotify.core.detection import Changes, SilentMark, detect_jobs
from syftnotify.core.digests import BUNDLE_ABOVE, group_into_digests
from syftnotify.core.kinds import TERMINAL_STATUSES, EventKind
from syftnotify.core.models import QUIET_HOURS_PREFIX, Event, Job, Notification, Peer, SnapshotStatus
from syftnotify.core.quiet_hours import QuietHours, defer
from syftnotify.core.reminders import ReminderThresholds, due_reminders
from syftnotify.core.routing import (
    UNVERIFIED_SOURCE,
    RoutingContext,
    is_unverified,
    long_runs,
    notifications_for,
    source_of,
)
from syftnotify.core.text import escape
from syftnotify.core.throttle import SlidingWindow
from syftnotify.runtime.intake import Intake
from syftnotify.runtime.peer_changes import PeerChanges
from syftnotify.runtime.recipients import Recipients
from syftnotify.runtime.recovery import Recovery
from syftnotify.sources.spool import Spool
from syftnotify.sources.syftbox.attachments import attachments_of
from syftnotify.sources.syftbox.peers import PeerScanner
from syftnotify.sources.syftbox.scanner import JobScan, JobScanner
from syftnotify.sources.syftbox.watch.spec import WatchSpec
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.store.scan_cache import ScanCacheFile
from syftnotify.system.failpoints import reached

log = logging.getLogger(__name__)

# No finished look for longer than this is time off: what happened meanwhile is told in one message, when it is much.
TIME_OFF_SECONDS = 3600.0
# For so long a look reads what changed; what is left waits for the next one.
READ_SECONDS = 5.0
_REMEMBER_GAP = 600.0  # seconds between two times that what is known of the jobs that rest is written down
_PRUNE_GAP = 3600.0  # seconds between two clean-ups of the history
_PRUNE_HEAP = 1000  # events that one look forgets
# One submitter causes at most so many events in a minute; what is still true later is noticed then.
EVENTS_PER_MINUTE = 100
_TOO_MANY = {"path": "all of it", "why": "too many jobs at once"}


@dataclass(slots=True)
class ScanReport:
    """What one tick found and did."""

    jobs: int = 0
    peers: int = 0
    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    restless: bool = False  # look again soon
    waiting_for: str = ""  # what must appear before there is anything to see
    delayed: int = 0  # jobs with events beyond the limit per submitter and minute
    newcomers: frozenset[str] = frozenset()  # recipients that are mailed for the first time
    excess: int = 0  # recipients above the daily limit of new ones
    released: int = 0  # notifications that are withheld no longer

    def joined(self, other: ScanReport) -> ScanReport:
        """The same, with what `other` noticed."""
        self.events += other.events
        self.notifications += other.notifications
        self.restless = self.restless or other.restless
        return self


class Pipeline:
    """The rooms of one home in their order. `now` is handed to every tick."""

    def __init__(
        self,
        *,
        missing: Callable[[], str],
        jobs: JobScanner | None,
        peers: PeerScanner,
        tells_peers: bool,
        peer_changes: PeerChanges,
        recipients: Recipients,
        ledger: Ledger,
        outbox: SqliteOutbox,
        memory: ScanCacheFile,
        spool: Spool,
        routing_context: Callable[[frozenset[str], Callable[[str], bool]], RoutingContext],
        scope: str,
        quiet: QuietHours | None,
        limits: ReminderThresholds,
        retention: float | None,
    ) -> None:
        """`missing` says what must appear before there is anything to see, and nothing when it is there.

        `scope` tells one person's first look from another's in the same home.
        """
        self._missing = missing
        self._jobs = jobs
        self._peers = peers
        self._tells_peers = tells_peers
        self._peer_changes = peer_changes
        self._recipients = recipients
        self._ledger = ledger
        self._outbox = outbox
        self._recovery = Recovery(ledger, outbox, restore=peer_changes.restore)
        self._memory = memory
        self._remember_at = 0.0  # seconds since 1970
        self._spool = spool
        self._intake = Intake(
            spool, outbox, routing_context=partial(routing_context, frozenset(), _nobody), quiet=quiet, limits=limits
        )
        self._routing_context = routing_context
        self._whose = scope
        self._quiet = quiet
        self._limits = limits
        self._retention = retention
        self._prune_at = 0.0  # seconds since 1970
        self._open: dict[str, tuple[Job, float]] = {}  # jobs that have not ended, and since when they are as they are
        self._has_looked = False
        # At which reading of the ledger all that is owed was compared; from then on only what changed is.
        self._settled = -1
        self._carried = SlidingWindow()  # whose code was copied lately
        self._admitted = SlidingWindow(EVENTS_PER_MINUTE, 60.0)  # events, by submitter
        self._delayed: dict[str, str] = {}  # entities with events beyond that limit, oldest first, with their source
        self._known: dict[str, EventKind] = {}  # what a lost ledger had told last, by entity

    def watchable(self) -> list[WatchSpec]:
        """What is worth watching besides the jobs."""
        spool = [WatchSpec(self._spool.folder, recursive=False)] if self._spool.folder.is_dir() else []
        return [*spool, *(self._peers.watch_specs() if self._tells_peers else [])]

    @property
    def peers_status(self) -> SnapshotStatus | None:
        """The sync snapshot in use at the last look; None where peers are not monitored by one."""
        return self._peer_changes.status if self._tells_peers else None

    def look(self) -> ScanReport:
        """Only count: nothing is noted and nobody is told (the master switch is off)."""
        if missing := self._missing():
            return ScanReport(waiting_for=missing)
        look = self._jobs.scan() if self._jobs else JobScan()
        if self._jobs:
            self._jobs.accept()
        return ScanReport(jobs=look.count, peers=len(self._peers.scan()), problems=look.problems)

    def tick(
        self,
        now: float,
        *,
        last_look: float | None,
        where: Collection[str] | None = None,
        hurried: bool = False,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ScanReport:
        """Look, and write down what is owed.

        Args:
            now: seconds since 1970.
            last_look: when the last tick was finished, None if nobody knows.
            where: paths at which something changed; None: look everywhere.
            hurried: leave what can wait to the next tick, which comes soon.
            dry_run: find out, and change nothing.
            progress: called with the number of jobs read so far and of those to read.

        Raises:
            StateError: the ledger or the outbox cannot be used; nothing was marked, the next tick finds it all again.
        """
        self._take_in(now)
        quiet_for = None if last_look is None else now - last_look
        time_off = quiet_for is None or quiet_for > TIME_OFF_SECONDS
        # Before the first look of all nobody had time off: what is handed in then is told as ever.
        taken = self._intake.take_in(now, time_off=time_off and last_look is not None, dry_run=dry_run)
        owing = {item.event_key for item in taken.notifications if not item.skipped}
        self._recovery.emitted(event.key for event in taken.events if event.key in owing and not dry_run)
        emitted = ScanReport(events=taken.events, notifications=taken.notifications, restless=not taken.is_all)
        if missing := self._missing():
            if not dry_run:
                gone = self._ledger.record_vanished(lambda _entity: False)
                if self._jobs:
                    self._jobs.invalidate(gone)
                self.settle()
            emitted.waiting_for = missing
            return emitted
        # What a first look left out would be news afterwards, and what one after time off left out no digest.
        seconds = READ_SECONDS if self._has_looked and not time_off else math.inf
        news, of_news = Changes(), dict[tuple[str, str], Job]()
        take = partial(self._judge, news, of_news, now, dry_run)
        look = JobScan()
        self._offer_delayed(now)
        if self._jobs:
            look = self._jobs.scan(
                changed_paths=where, skip_archived=hurried, seconds=seconds, on_jobs=take, progress=progress
            )
        peers = self._peers.scan()
        tick = ScanReport(jobs=look.count, peers=len(peers), problems=look.problems, restless=look.rescan_soon)
        context = self._routing_context(
            frozenset(peer.address for peer in peers if peer.added), self._peer_changes.recorded_test(peers)
        )
        self._admit(tick, news, context, now, is_limited=not time_off)
        self._judge_peers(news, peers)
        self._remind(look, news, context, now)
        self._prepare(tick, news, of_news, context, time_off=time_off, now=now)
        self._release_and_withhold(tick, context, now, dry_run=dry_run)
        if dry_run:
            return tick.joined(emitted)
        reached("tick.scanned")
        self._put(tick, now)
        self._mark(news, tick, now)
        self._drop_alerts(context, now)
        if self._jobs and (look.vanished or not self._has_looked):
            self._ledger.record_vanished(self._jobs.has_job, look.vanished if self._has_looked else None)
        self.settle()
        self._prune(now)
        reached("tick.synced")
        if self._jobs:
            self._jobs.accept()
        is_first, self._has_looked = not self._has_looked, True
        if is_first or not 0 < self._remember_at - now <= _REMEMBER_GAP:
            self.remember()
            self._remember_at = now + _REMEMBER_GAP
        for event in tick.events:
            log.info("noticed %s %s", event.kind.value, event.entity)
        return tick.joined(emitted)

    @property
    def lost_events(self) -> list[str]:
        """Keys of emitted events that were lost with the outbox; until `forget_lost_events`."""
        return self._recovery.lost_emitted

    def forget_lost_events(self) -> None:
        """The owner was alerted about them."""
        self._recovery.forget_lost()

    def _release_and_withhold(self, tick: ScanReport, context: RoutingContext, now: float, *, dry_run: bool) -> None:
        """Release what was withheld from recipients that may be mailed now, and withhold what is above the limit."""
        is_quiet = self._quiet is not None and self._quiet.until(now) is not None
        if not (dry_run or is_quiet):
            tick.released = self._recipients.release(context, now)  # before later notifications of the same recipients
        by_key = {event.key: event for event in tick.events}
        admission = self._recipients.admit(tick.notifications, by_key, context, now)
        tick.notifications, tick.newcomers = admission.notifications, admission.newcomers
        tick.excess = admission.excess

    def _put(self, tick: ScanReport, now: float) -> None:
        uncertain = self._recovery.uncertain_keys(tick.events)
        self._outbox.enqueue(tick.events, tick.notifications, now, uncertain=uncertain, newcomers=tick.newcomers)
        self._recovery.enqueued(tick.events)
        if tick.excess:
            self.note(self._recipients.alert(tick.excess, now), now)

    def note(self, event: Event, now: float, *, transport: str = "") -> None:
        """Write down an event of the worker's own, routed like any other; `transport` carries it if given."""
        owed = notifications_for([event], self._routing_context(frozenset(), _nobody), transport=transport)
        self._outbox.enqueue([event], defer(owed, {event.key: event}, self._quiet, now), now)
        log.info("noticed %s %s", event.kind.value, event.entity)

    def remember(self) -> None:
        """Write down for the next process what is known of the jobs that rest, if that has changed."""
        # A delayed job must be read again after a restart.
        if self._jobs and self._has_looked and self._jobs.has_unsaved_changes and not self._delayed:
            self._memory.save(self._jobs.snapshot(), self._ledger.revision)

    def _take_in(self, now: float) -> None:
        """What happened to ledger and outbox since the last look; after a loss everything is looked at again."""
        self._ledger.refresh()
        is_lost = self._outbox.reopen_if_replaced()
        if self._has_looked and not all(self._ledger.baseline(scope) for scope in self._scopes()):
            log.warning("the state file was lost while it was in use")
            is_lost = True
        if is_lost:
            self._has_looked = False
            self._settled = -1
            self._delayed.clear()
            self._intake.forget()
            if self._jobs:
                self._jobs.invalidate_all()
        if not self._has_looked:
            is_baseline_done = any(self._ledger.baseline(scope) for scope in self._scopes())
            self._known = self._recovery.run(now, is_baseline_done=is_baseline_done)
            if self._jobs and not is_lost:
                self._jobs.restore(self._memory.load(self._ledger.revision), self._ledger.unstable_entities())

    def settle(self) -> None:
        """What has left the outbox since leaves `owed` in the ledger; saves once if anything changed."""
        touched, readings = self._outbox.events.pop_dirty(), self._ledger.read_count
        try:
            if readings != self._settled:
                self._recovery.finish(self._outbox.events.for_entities(self._ledger.owed()))
                self._recovery.settle(self._ledger.owed_emitted_keys())
            elif touched:
                self._recovery.finish(self._outbox.events.find(touched))
                self._recovery.settle(touched)
            self._recovery.note()
            self._ledger.save()
        except BaseException:  # whatever it was, it goes on; nothing that changed is forgotten
            self._outbox.events.mark_dirty(touched)
            raise
        self._settled = readings

    def _judge(
        self, news: Changes, of_news: dict[tuple[str, str], Job], now: float, dry_run: bool, jobs: list[Job]
    ) -> None:
        """Add what is new about some jobs. A first look meets very many: of those without news no more is kept."""
        first = not self._ledger.baseline(self._scope("jobs"))
        new = detect_jobs(jobs, self._ledger, now=now, baseline=first, last_notified=self._known)
        if not dry_run:
            self._count_as_told(new.marks)
        news.add(new)
        named = {(event.entity, event.payload["submitted_at"]) for event in new.events}
        of_news |= {key: job for job in jobs if (key := (job.entity, job.submission_id)) in named}
        for job in jobs:
            known = self._open.pop(job.entity, None)
            if job.is_readable and job.status not in TERMINAL_STATUSES:
                is_same = (
                    known is not None and known[0].status is job.status and known[0].submission_id == job.submission_id
                )
                self._open[job.entity] = job, known[1] if known is not None and is_same else now

    def _offer_delayed(self, now: float) -> None:
        """Let the scan read again what was delayed, as many jobs of each submitter as the limit allows now."""
        room: dict[str, int] = {}
        offered = []
        for entity, source in self._delayed.items():
            left = room.get(source)
            if left is None:
                left = EVENTS_PER_MINUTE - self._admitted.count(source, now)
            room[source] = left - 1
            if left > 0:
                offered.append(entity)
        for entity in offered:
            del self._delayed[entity]
        if offered and self._jobs:
            self._jobs.invalidate(offered)

    def _admit(self, tick: ScanReport, news: Changes, context: RoutingContext, now: float, *, is_limited: bool) -> None:
        """Drop the events of submitters who cause too many, and remember their jobs.

        What is still true when the job is read again is noticed then, so nothing is lost, and a fact that was replaced
        meanwhile costs nothing.
        """
        admitted: list[Event] = []
        delayed = Counter[str]()
        for event in news.events if is_limited else ():
            # Unverified submitters share one limit: their number is whatever the tree says.
            source = UNVERIFIED_SOURCE if is_unverified(event, context) else source_of(event)
            if self._admitted.is_full(source, now):
                self._delayed[event.entity] = source
                delayed[source] += 1
            else:
                self._admitted.record(source, now)
                admitted.append(event)
        if delayed:
            news.events[:] = admitted
        for source, count in delayed.items():
            who = "unverified submitters" if source == UNVERIFIED_SOURCE else escape(source)
            log.info("delayed %d events of %s: more than %d in a minute", count, who, EVENTS_PER_MINUTE)
        tick.delayed = len(self._delayed)
        tick.restless = tick.restless or bool(self._delayed)

    def _judge_peers(self, news: Changes, peers: list[Peer]) -> None:
        if self._tells_peers:
            first = not self._ledger.baseline(self._scope("peers"))
            news.add(self._peer_changes.detect(peers, baseline=first, last_notified=self._known))

    def _remind(self, look: JobScan, news: Changes, context: RoutingContext, now: float) -> None:
        """Add what has been so for too long; what was so before the first look is not news then."""
        for entity in look.vanished:
            self._open.pop(entity, None)
        asking = (
            partial(long_runs, context=context) if any(rule.on_long_run_minutes for rule in context.alerts) else None
        )
        due = due_reminders(self._open.values(), self._ledger, self._limits, now=now, extra_thresholds=asking)
        if self._jobs and not self._ledger.baseline(self._scope("jobs")):
            news.marks += [SilentMark(event.entity, event.kind, event.occurrence) for event in due]
        else:
            news.events += due

    def _prune(self, now: float) -> None:
        """Forget what is older than the history is kept, a heap at a look."""
        if self._retention is None or 0 < self._prune_at - now <= _PRUNE_GAP:
            return
        count = self._outbox.history.prune(now - self._retention, now, exempt=self._ledger.owed(), limit=_PRUNE_HEAP)
        if count:
            log.info("forgot %d events that were older than `retention`", count)
        self._prune_at = now if count == _PRUNE_HEAP else now + _PRUNE_GAP

    def _drop_alerts(self, context: RoutingContext, now: float) -> None:
        """Rules about one job go when it goes (A01)."""
        rules = [rule for rule in context.alerts if rule.is_for_one_job]
        if rules and self._jobs:
            is_there = {rule.id: self._jobs.has_job(rule.job) for rule in rules}
            for name in self._outbox.alert_rules.expire(is_there, now):
                log.info("alert %s is removed: its job is gone", name)

    def _scope(self, what: str) -> str:
        return f"{what} {self._whose}"

    def _scopes(self) -> list[str]:
        """What this pipeline takes a first look at."""
        told = (("jobs", self._jobs is not None), ("peers", self._tells_peers))
        return [self._scope(what) for what, is_told in told if is_told]

    def _prepare(
        self,
        tick: ScanReport,
        news: Changes,
        jobs: dict[tuple[str, str], Job],
        context: RoutingContext,
        *,
        time_off: bool,
        now: float,
    ) -> None:
        """Fill `tick` with the events, what a message about them may carry, and what is owed for them."""
        for events in (news.catch_up, news.events):
            events[:] = [_marked(event) if is_unverified(event, context) else event for event in events]
        catch_up = group_into_digests(notifications_for(news.catch_up, context, catches_up=True), always=True)
        rest = notifications_for(news.events, context)
        rest = group_into_digests(rest, above=BUNDLE_ABOVE) if time_off else rest
        by_key = {event.key: event for event in (*news.catch_up, *news.events)}
        tick.notifications = defer([*catch_up, *rest], by_key, self._quiet, now)
        singly = (item for item in tick.notifications if not item.bundle or item.bundle.startswith(QUIET_HOURS_PREFIX))
        alone = {item.event_key for item in singly if not item.skipped}
        news.events[:] = [
            self._with_evidence(event, jobs, now) if event.key in alone else event for event in news.events
        ]
        tick.events = [*news.catch_up, *news.events]

    def _with_evidence(self, event: Event, jobs: dict[tuple[str, str], Job], now: float) -> Event:
        """The event with code or stderr, copied: a digest has no room for it, and who floods us fills no disk."""
        job = jobs.get((event.entity, str(event.payload.get("submitted_at", ""))))
        if job is None:
            return event
        source = source_of(event)
        if self._carried.is_full(source, now):
            return replace(event, payload={**event.payload, "code_left_out": [_TOO_MANY]})
        self._carried.record(source, now)
        return replace(event, payload={**event.payload, **attachments_of(job, event.kind)})

    def _count_as_told(self, marks: list[SilentMark]) -> None:
        for mark in marks:
            self._ledger.mark_settled(mark.entity, mark.kind, mark.occurrence)
        marks.clear()

    def _mark(self, news: Changes, tick: ScanReport, now: float) -> None:
        ledger = self._ledger
        owing = {item.event_key for item in tick.notifications if not (item.skipped or item.withheld)}
        self._count_as_told(news.marks)
        for event in tick.events:
            put = ledger.mark_owed if event.key in owing else ledger.mark_settled
            put(event.entity, event.kind, event.occurrence)
        for (entity, generation), count in news.reruns.items():
            ledger.set_rerun_count(entity, generation, count)
        ledger.update_unreadable(news.unreadable, news.readable)
        ledger.record_reappeared(news.reappeared, news.stable, now)
        self._peer_changes.record(news)
        for scope in self._scopes():
            if not ledger.baseline(scope):
                ledger.record_baseline(scope, _iso(now))
                log.info("first look at %s is done", scope)


def _marked(event: Event) -> Event:
    return replace(event, payload={**event.payload, "unverified": True})


def _nobody(_address: str) -> bool:
    return False


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
