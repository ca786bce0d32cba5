"""How are the rooms of one home put together? Everything that they share is made here and handed in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from syftnotify.config.load import Settings
from syftnotify.config.routing import Condition
from syftnotify.config.schema import Config, Gmail, Transport, Webhook
from syftnotify.core.errors import StateError
from syftnotify.core.identifiers import AddressType, is_address
from syftnotify.core.kinds import HIGH_KINDS, EventKind, Severity
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import DIGESTED
from syftnotify.core.quiet_hours import QuietHours
from syftnotify.core.reminders import ReminderThresholds
from syftnotify.core.routing import RoutingContext, TransportInfo, built_in_routes
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.dispatcher import Dispatcher, TransportQueue
from syftnotify.runtime.peer_changes import PeerChanges
from syftnotify.runtime.pipeline import Pipeline, ScanReport
from syftnotify.runtime.recipients import Recipients
from syftnotify.services.transports import build_renderer, transport_infos
from syftnotify.services.tree_readers import job_reader, peer_reader
from syftnotify.sources.spool import Spool
from syftnotify.sources.syftbox.scanner import JobReader
from syftnotify.store.ledger import JsonStateManager
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.store.scan_cache import MemoryFile
from syftnotify.system.files import private_folder
from syftnotify.transports.registry import transport_for
from syftnotify.transports.webhook.alert_targets import settings_of_targets


@dataclass(slots=True)
class App:
    """A home at work. Only for the holder of its lock."""

    settings: Settings
    ledger: JsonStateManager
    outbox: SqliteOutbox
    pipeline: Pipeline
    dispatcher: Dispatcher
    jobs: JobReader
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
        """Let go of the database."""
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
    """The parts of one home, wired together.

    Raises:
        StateError: the ledger, the outbox or the spool cannot be used.
    """
    config, home = settings.config, settings.home
    try:
        private_folder(home.spool)  # or it could not be watched
    except OSError as error:
        raise StateError(
            f"{home.spool} cannot be created: {error.strerror}", hint="remove what is in its place"
        ) from error
    with ExitStack() as stack:
        ledger = JsonStateManager(home.state)
        outbox = SqliteOutbox(home.outbox)
        stack.callback(outbox.close)  # unless everything below succeeds
        sections: dict[str, Transport] = {**config.transports, **settings_of_targets(outbox.alert_rules.all())}
        outbox.queue.reassign(list(sections), settings.mailer)
        lanes = {name: _lane(settings, name, section, clock) for name, section in sections.items()}
        dispatcher = Dispatcher(
            outbox,
            lanes,
            me=f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}:{os.getpid()}",
            max_concurrent=config.notify.max_concurrent_deliveries,
            limits=_limits(config),
            clock=clock,
            monotonic=monotonic,
            on_change=on_change,
        )
        jobs = job_reader(settings, clock=clock, monotonic=monotonic, is_settling=ledger.is_settling)
        peers, owner = peer_reader(settings, clock), config.do_email.lower()
        scope = owner if config.role == "owner" else f"{config.role} {owner}"
        pipeline = Pipeline(
            missing=lambda: _missing(settings.root),
            jobs=jobs if with_jobs and config.notify.monitor_jobs else None,
            peers=peers,
            peer_changes=PeerChanges(peers, ledger, owner, trusts_folders=config.notify.peers_from_folders),
            recipients=Recipients(outbox, owner, config.recipients.new_per_day),
            tells_peers=with_peers and config.notify.monitor_peers,
            ledger=ledger,
            outbox=outbox,
            memory=MemoryFile(home.memory, scope),
            spool=Spool(home.spool),
            reach=_reach(
                settings, outbox, lanes, lambda name, section: dispatcher.add(_lane(settings, name, section, clock))
            ),
            scope=scope,
            quiet=_quiet_hours(config),
            limits=ReminderThresholds(config.reminders.job_waiting, config.reminders.job_long_running),
            retention=config.retention,
        )
        stack.pop_all()
    return App(settings, ledger, outbox, pipeline, dispatcher, jobs, clock)


def _lane(settings: Settings, name: str, section: Transport, clock: Callable[[], float]) -> TransportQueue:
    return TransportQueue(
        name,
        transport_for(section, clock=clock),
        build_renderer(settings, name, section),
        section.rate,
        section.burst,
        section.max_retries,
        threads=isinstance(section, Gmail),
        gathers=not isinstance(section, Webhook),
        resend_unknown=not settings.holds(section),
        daily_limit=section.daily_limit,
    )


def _routes(config: Config) -> tuple[Route, ...]:
    """The rules in order: what a transport asks for itself, then the configuration's, or the built-in ones and more."""
    own = [
        Route(
            f"transports.{name}.events",
            section.events,
            Match(submitter=section.filter_users),
            section.to,
            name,
            goes_on=True,
        )
        for name, section in config.transports.items()
        if section.events is not None
    ]
    written = [
        *((f"routes[{number}]", section) for number, section in enumerate(config.routes or ())),
        *((f"routes+[{number}]", section) for number, section in enumerate(config.more_routes)),
    ]
    rules = [
        Route(name, section.events, _match(section.match), section.to, section.via or "", goes_on=section.goes_on)
        for name, section in written
    ]
    reminders = frozenset({EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING})
    reminding = [Route("reminders.to", reminders, to=config.reminders.to)] if config.reminders.to else []
    built_in = () if config.routes is not None else built_in_routes(for_scientist=config.role == "scientist")
    return (*own, *reminding, *built_in, *rules)


def _quiet_hours(config: Config) -> QuietHours | None:
    section = config.quiet_hours
    if section is None:
        return None
    return QuietHours(
        section.begin,
        section.end,
        section.zone,
        section.days,
        frozenset(map(Severity, section.sparing)),
    )


def _limits(config: Config) -> tuple[ThrottleRule, ...]:
    """The limits of single messages to one recipient: the fixed one, and that of the configuration."""
    section = config.digest
    if section is None:
        return (ThrottleRule(),)
    exempt = frozenset() if section.include_high else HIGH_KINDS
    return ThrottleRule(), ThrottleRule(section.above, section.within, section.every, DIGESTED, exempt)


def _match(section: Condition) -> Match:
    excluding = getattr(section, "excluding", None)
    return Match(
        section.submitter,
        section.owner,
        section.job,
        section.tags,
        section.severity,
        _match(excluding) if excluding is not None else None,
    )


def _missing(root: Path) -> str:
    try:
        return "" if root.is_dir() else f"the SyftBox folder {root} does not exist yet"
    except OSError as error:  # no right to look, or a mount that died
        return f"the SyftBox folder {root} cannot be read ({error.strerror})"


def _reach(
    settings: Settings, outbox: SqliteOutbox, lanes: Iterable[str], add: Callable[[str, Transport], None]
) -> Callable[[frozenset[str], Callable[[str], bool]], RoutingContext]:
    """Who can be reached, asked anew at each look: alert rules come and go.

    `add` is given the transports of theirs that are not among `lanes` yet.
    """
    config = settings.config
    mailer, ways, routes = settings.mailer, transport_infos(settings.config), _routes(settings.config)
    configured = _configured(config, routes, ways)
    known = set(lanes)

    def reach(peers: frozenset[str], is_recorded: Callable[[str], bool]) -> RoutingContext:
        def is_known(address: str) -> bool:
            return address.lower() in configured or config.recipients.allows(address) or is_recorded(address)

        alerts = [rule for rule in outbox.alert_rules.all() if rule.target]
        own: dict[str, Transport] = {**settings_of_targets(alerts)}
        for name in own.keys() - known:
            add(name, own[name])
            known.add(name)
        # Without a default: of what names nobody, only the rule's own jobs are its business.
        every = {**ways, **{name: TransportInfo(name, AddressType.WEBHOOK) for name in own}}
        return RoutingContext(
            config.do_email,
            config.operator,
            mailer,
            peers,
            config.recipients.allows,
            routes,
            every,
            tuple(alerts),
            is_known,
            configured,
        )

    return reach


def _configured(config: Config, routes: Iterable[Route], ways: Mapping[str, TransportInfo]) -> frozenset[str]:
    """The addresses that the configuration names as recipients, in small letters."""
    named = [config.do_email, *config.operator]
    named += [word for route in routes for word in route.to]
    named += [word for way in ways.values() for word in way.default]
    return frozenset(word.lower() for word in named if is_address(word))
