"""Composition root: builds the parts of one home and wires them together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportSettings
from syftnotify.core.errors import StateError
from syftnotify.core.kinds import HIGH_KINDS, Severity
from syftnotify.core.models import DIGEST_PREFIX
from syftnotify.core.quiet_hours import QuietHours
from syftnotify.core.reminders import ReminderThresholds
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.runtime.peer_changes import PeerChanges
from syftnotify.runtime.pipeline import Pipeline, ScanReport
from syftnotify.runtime.recipients import Recipients
from syftnotify.runtime.routing_context import RoutingContexts
from syftnotify.services.readers import job_reader, peer_reader
from syftnotify.services.transports import build_renderer
from syftnotify.sources.spool import Spool
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.store.scan_cache import ScanCacheFile
from syftnotify.system.files import create_private_folder
from syftnotify.transports.webhook.alert_targets import settings_of_targets


@dataclass(slots=True)
class App:
    """The parts of one home. Only for the holder of its worker lock."""

    settings: Settings
    ledger: Ledger
    outbox: SqliteOutbox
    pipeline: Pipeline
    dispatcher: Dispatcher
    jobs: JobScanner
    clock: Callable[[], float]

    def look_once(self, last_look: float | None) -> ScanReport:
        """One look, then everything that is due now is attempted, then what was told is marked."""
        self.outbox.queue.recover(self.clock())
        if not self.settings.config.notify.enabled:
            return self.pipeline.look()
        tick = self.pipeline.tick(self.clock(), last_look=last_look)
        self.dispatcher.drain()
        self.pipeline.settle()
        self.pipeline.remember()
        return tick

    def close(self) -> None:
        """Stop deliveries and close the database."""
        self.dispatcher.stop()
        self.outbox.close()


def build_app(
    settings: Settings,
    *,
    with_jobs: bool = True,
    with_peers: bool = True,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    on_change: Callable[[], None] = lambda: None,
) -> App:
    """Build the parts of one home.

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
        outbox = SqliteOutbox(home.outbox)
        stack.callback(outbox.close)  # unless the statements below succeed
        sections = {**config.transports, **settings_of_targets(outbox.alert_rules.all())}
        outbox.queue.reassign(list(sections), settings.default_mail_transport)
        queues = {name: _transport_queue(settings, name, section, clock) for name, section in sections.items()}
        dispatcher = Dispatcher(
            outbox,
            queues.values(),
            worker_id=f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}:{os.getpid()}",
            max_concurrent=config.notify.max_concurrent_deliveries,
            throttle_rules=_limits(config),
            clock=clock,
            monotonic=monotonic,
            on_change=on_change,
        )
        jobs = job_reader(settings, clock=clock, monotonic=monotonic, is_settling=ledger.is_unstable)
        peers, owner = peer_reader(settings, clock), config.do_email.lower()
        scope = owner if config.role == "owner" else f"{config.role} {owner}"
        pipeline = Pipeline(
            missing=lambda: _root_problem(settings.root),
            jobs=jobs if with_jobs and config.notify.monitor_jobs else None,
            peers=peers,
            peer_changes=PeerChanges(peers, ledger, owner, trusts_folders=config.notify.peers_from_folders),
            recipients=Recipients(outbox, owner, config.recipients.new_per_day),
            tells_peers=with_peers and config.notify.monitor_peers,
            ledger=ledger,
            outbox=outbox,
            memory=ScanCacheFile(home.scan_cache, scope),
            spool=Spool(home.spool),
            routing_context=RoutingContexts(
                settings,
                outbox,
                queues,
                lambda name, section: dispatcher.add(_transport_queue(settings, name, section, clock)),
            ).current,
            scope=scope,
            quiet=_quiet_hours(config),
            limits=ReminderThresholds(config.reminders.job_waiting, config.reminders.job_long_running),
            retention=config.retention,
        )
        stack.pop_all()
    return App(settings, ledger, outbox, pipeline, dispatcher, jobs, clock)


def _transport_queue(
    settings: Settings, name: str, section: TransportSettings, clock: Callable[[], float]
) -> TransportQueue:
    options = QueueOptions(
        rate=section.rate,
        burst=section.burst,
        max_retries=section.max_retries,
        daily_limit=section.daily_limit,
        supports_threads=section.uses_threads,
        allows_digest=not section.for_programs,
        resend_unknown=not settings.holds(section),
    )
    transport = section.build_transport(clock=clock)
    return TransportQueue(name, transport, build_renderer(settings, name, section), options)


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


def _limits(config: Config) -> tuple[ThrottleRule, ...]:
    """The throttle rules per recipient: the built-in one, and that of the configuration."""
    section = config.digest
    if section is None:
        return (ThrottleRule(),)
    exempt = frozenset() if section.include_high else HIGH_KINDS
    return ThrottleRule(), ThrottleRule(section.threshold, section.window, section.interval, DIGEST_PREFIX, exempt)


def _root_problem(root: Path) -> str:
    try:
        return "" if root.is_dir() else f"the SyftBox folder {root} does not exist yet"
    except OSError as error:  # no permission, or a broken mount
        return f"the SyftBox folder {root} cannot be read ({error.strerror})"
