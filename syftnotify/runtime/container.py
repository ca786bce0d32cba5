"""Composition root: builds the parts of one home and connects them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportSettings
from syftnotify.core.cluster import Channel, Cluster, WorkerMode
from syftnotify.core.errors import Failure, StateError
from syftnotify.core.kinds import HIGH_KINDS, Severity
from syftnotify.core.models import DIGEST_PREFIX
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.quiet_hours import QuietHours
from syftnotify.core.reminders import ReminderThresholds
from syftnotify.core.routing import DENIED
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.runtime.emitted_events import EmittedEvents
from syftnotify.runtime.file_changes import FileChanges
from syftnotify.runtime.job_changes import JobChanges
from syftnotify.runtime.opening import connect_outbox
from syftnotify.runtime.peer_changes import PeerChanges
from syftnotify.runtime.pipeline import Pipeline, Planning, Sources, Storage
from syftnotify.runtime.planner import NotificationPlanner
from syftnotify.runtime.pruner import Pruner
from syftnotify.runtime.recipients import RecipientLimit
from syftnotify.runtime.recovery import Recovery
from syftnotify.runtime.routing_context import RoutingContextBuilder
from syftnotify.runtime.scan_report import ScanReport
from syftnotify.services.readers import job_reader, peer_reader
from syftnotify.services.transports import ScopeRenderers, build_renderer, published_context
from syftnotify.sources.spool import Spool
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.scan_cache import ScanCacheFile
from syftnotify.system.files import create_private_folder
from syftnotify.transports.webhook.alert_targets import settings_of_targets


@dataclass(slots=True)
class App:
    """The parts of one home. Only for the holder of its worker lock."""

    settings: Settings
    ledger: Ledger
    outbox: OutboxStore
    pipeline: Pipeline
    dispatcher: Dispatcher
    jobs: JobScanner
    clock: Callable[[], float]

    def run_once(self, last_scan: float | None) -> ScanReport:
        """Scan once, attempt all due deliveries, and record finished events.

        `last_scan` is when the last scan ended, in seconds since 1970; None if it is not known.
        """
        self.outbox.queue.recover(self.clock())
        if not self.settings.config.notify.enabled:
            return self.pipeline.count()
        report = self.pipeline.tick(self.clock(), last_scan=last_scan)
        self.dispatcher.drain()
        self.pipeline.sync_ledger()
        self.pipeline.save_scan_cache()
        return report

    def close(self) -> None:
        """Stop deliveries and close the database."""
        self.dispatcher.stop()
        self.outbox.close()


def build_app(
    settings: Settings,
    *,
    with_jobs: bool = True,
    with_peers: bool = True,
    clock: Callable[[], float] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    on_change: Callable[[], None] = lambda: None,
    mode: WorkerMode = WorkerMode.FULL,
    discards_changes: bool = False,
) -> App:
    """Build the parts of one home.

    `with_jobs` and `with_peers` monitor jobs and peers, unless the configuration disables it. `on_change` is called by
    threads of the dispatcher when the outbox or a transport may have changed. `clock` is, if it is None, that of the
    database which several workers share, otherwise that of this machine; `mode` is what this process does there.
    `discards_changes`: for a dry run.

    Raises:
        StateError: the ledger, the outbox or the spool cannot be used.
    """
    config, home = settings.config, settings.home
    try:
        create_private_folder(home.spool)  # the watcher needs it
    except OSError as error:
        raise StateError(
            f"{home.spool} cannot be created: {error.strerror}", hint="remove what is in its place"
        ) from error
    with ExitStack() as stack:
        ledger = Ledger(home.state)
        outbox = connect_outbox(settings, discards_changes=discards_changes)
        stack.callback(outbox.close)  # unless the statements below succeed
        clock = clock or shared_clock(outbox)
        dispatcher = _dispatcher(settings, outbox, clock=clock, monotonic=monotonic, on_change=on_change)
        jobs = job_reader(settings, clock=clock, monotonic=monotonic, is_unstable=ledger.is_unstable)
        pipeline = _pipeline(
            settings,
            ledger,
            outbox,
            dispatcher,
            jobs,
            monitors_jobs=with_jobs and config.notify.monitor_jobs,
            monitors_peers=with_peers and config.notify.monitor_peers,
            clock=clock,
            monotonic=monotonic,
        )
        if outbox.cluster is not None and not discards_changes:
            join_cluster(settings, outbox.cluster, dispatcher, mode)
        stack.pop_all()
    return App(settings, ledger, outbox, pipeline, dispatcher, jobs, clock)


def shared_clock(outbox: OutboxStore) -> Callable[[], float]:
    """The clock that all workers of `outbox` use."""
    return time.time if outbox.cluster is None else outbox.cluster.time


def join_cluster(settings: Settings, cluster: Cluster, dispatcher: Dispatcher, mode: WorkerMode) -> None:
    """Become a worker that delivers as soon as another one has enqueued something. Raises: StateError."""
    if mode is not WorkerMode.SCAN:
        cluster.listen(Channel.QUEUE, dispatcher.wake)
    is_enabled = settings.config.notify.enabled
    cluster.join(
        mode if is_enabled else WorkerMode.DISABLED,
        {name: section.fingerprint for name, section in settings.config.transports.items()},
    )
    if mode is not WorkerMode.SCAN:
        _try_gone_endpoints(settings, cluster)
    if mode is not WorkerMode.DELIVER:
        cluster.publish(published_context(settings), is_enabled=is_enabled)


def _try_gone_endpoints(settings: Settings, cluster: Cluster) -> None:
    """End the pauses of endpoints that did not exist any more: a start tries them again, as with one worker."""
    for name, pause in cluster.transports.pauses().items():
        if pause.failure is Failure.GONE and name in settings.config.transports:
            cluster.transports.end_pause(name)


def _dispatcher(
    settings: Settings,
    outbox: OutboxStore,
    *,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    on_change: Callable[[], None],
) -> Dispatcher:
    sections = transport_sections(settings, outbox)
    if outbox.cluster is None:  # otherwise the worker that leads does it
        apply_settings_to_queue(settings, outbox)
    return build_dispatcher(settings, outbox, sections, clock=clock, monotonic=monotonic, on_change=on_change)


def transport_sections(settings: Settings, outbox: OutboxStore) -> dict[str, TransportSettings]:
    """The settings of all transports by name, with those of the URLs of alert rules. Raises: StateError."""
    return {**settings.config.transports, **settings_of_targets(outbox.alert_rules.all())}


def apply_settings_to_queue(settings: Settings, outbox: OutboxStore) -> None:
    """Apply the configuration to what was queued under an earlier one. Raises: StateError."""
    outbox.queue.reassign(list(transport_sections(settings, outbox)), settings.default_mail_transport)
    outbox.queue.skip_denied(settings.config.recipients.denies, DENIED)


def build_dispatcher(
    settings: Settings,
    outbox: OutboxStore,
    sections: Mapping[str, TransportSettings],
    *,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    on_change: Callable[[], None],
) -> Dispatcher:
    """A dispatcher of the transports `sections`, by name."""
    return Dispatcher(
        outbox,
        [transport_queue(settings, outbox, name, section, clock) for name, section in sections.items()],
        worker_id=f"{socket.gethostname()}:{os.getpid()}",
        max_concurrent=settings.config.notify.max_concurrent_deliveries,
        throttle_rules=_throttle_rules(settings.config),
        clock=clock,
        monotonic=monotonic,
        on_change=on_change,
    )


def baseline_scopes(config: Config) -> tuple[str, str]:
    """The ledger's names of the baselines of jobs and of peers."""
    return f"jobs {config.scope}", f"peers {config.scope}"


def _pipeline(
    settings: Settings,
    ledger: Ledger,
    outbox: OutboxStore,
    dispatcher: Dispatcher,
    jobs: JobScanner,
    *,
    monitors_jobs: bool,
    monitors_peers: bool,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
) -> Pipeline:
    config, home = settings.config, settings.home
    owner = config.do_email.lower()
    job_scope, peer_scope = baseline_scopes(config)
    thresholds = ReminderThresholds(config.reminders.job_waiting, config.reminders.job_long_running)
    quiet_hours = _quiet_hours(config)
    job_changes = JobChanges(
        jobs if monitors_jobs else None,
        ledger,
        ScanCacheFile(home.scan_cache, config.scope),
        scope=job_scope,
        thresholds=thresholds,
    )
    peer_changes = PeerChanges(
        peer_reader(settings, clock),
        ledger,
        owner,
        scope=peer_scope,
        is_monitored=monitors_peers,
        trusts_folders=config.notify.peers_from_folders,
    )
    emitted = EmittedEvents(Spool(home.spool), outbox, quiet_hours=quiet_hours, thresholds=thresholds)
    recipients = RecipientLimit(outbox, owner, config.recipients.new_per_day)
    routing = RoutingContextBuilder(
        settings,
        outbox,
        dispatcher.queues,
        lambda name, section: dispatcher.add(transport_queue(settings, outbox, name, section, clock)),
    )
    submissions = None if config.for_scientist else outbox.submissions
    return Pipeline(
        Sources(job_changes, peer_changes, emitted, root_problem=lambda: _root_problem(settings.root)),
        Storage(
            ledger,
            outbox,
            Recovery(ledger, outbox, restore=peer_changes.restore),
            Pruner(outbox.history, ledger, config.retention),
        ),
        Planning(
            routing,
            NotificationPlanner(recipients, quiet_hours, submissions),
            FileChanges(submissions, monotonic=monotonic) if submissions else None,
            recipients,
            quiet_hours,
        ),
    )


def transport_queue(
    settings: Settings, outbox: OutboxStore, name: str, section: TransportSettings, clock: Callable[[], float]
) -> TransportQueue:
    """The queue of one transport."""
    options = QueueOptions(
        rate=section.rate,
        burst=section.burst,
        max_retries=section.max_retries,
        daily_limit=section.daily_limit,
        uses_threads=section.uses_threads,
        allows_digest=not section.for_programs,
        resend_unknown=not settings.holds(section),
    )
    transport = section.build_transport(clock=clock)
    if outbox.cluster is None:
        return TransportQueue(name, transport, build_renderer(settings, name, section), options)
    renderers = ScopeRenderers(settings, name, section)
    return TransportQueue(name, transport, renderers(settings.config.scope, ""), options, renderers=renderers)


def _quiet_hours(config: Config) -> QuietHours | None:
    section = config.quiet_hours
    if section is None:
        return None
    return QuietHours(
        section.begin,
        section.end,
        section.timezone,
        section.days,
        frozenset(map(Severity, section.exempt)),
    )


def _throttle_rules(config: Config) -> tuple[ThrottleRule, ...]:
    """The throttle rules per recipient: the built-in one, and that of the configuration."""
    section = config.digest
    if section is None:
        return (ThrottleRule(),)
    exempt = frozenset() if section.include_high else HIGH_KINDS
    return ThrottleRule(), ThrottleRule(section.threshold, section.window, section.interval, DIGEST_PREFIX, exempt)


def _root_problem(root: Path) -> str:
    """Why the SyftBox folder cannot be scanned; empty if it can."""
    try:
        return "" if root.is_dir() else f"the SyftBox folder {root} does not exist yet"
    except OSError as error:  # no permission, or a broken mount
        return f"the SyftBox folder {root} cannot be read ({error.strerror})"
