"""How are the rooms of one home put together? Everything that they share is made here and handed in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from syftnotify.config.load import Settings, load, unencrypted
from syftnotify.config.routing import Condition
from syftnotify.config.schema import Config, Gmail, Slack, Smtp, Transport, Webhook
from syftnotify.config.values import is_safe_url
from syftnotify.core.errors import ConfigError, NotSignedInError, StateError
from syftnotify.core.identifiers import AddressType, is_address
from syftnotify.core.kinds import HIGH_KINDS, REMINDER_KINDS, Severity
from syftnotify.core.matching import Match, Route
from syftnotify.core.models import DIGEST_PREFIX, AlertRule
from syftnotify.core.ports import Renderer
from syftnotify.core.quiet_hours import QuietHours
from syftnotify.core.reminders import ReminderThresholds
from syftnotify.core.routing import RoutingContext, TransportInfo, built_in_routes
from syftnotify.core.text import escape
from syftnotify.core.throttle import ThrottleRule
from syftnotify.delivery.dispatcher import Dispatcher
from syftnotify.delivery.transport_queue import QueueOptions, TransportQueue
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer, cached_renderer
from syftnotify.runtime.peer_changes import PeerChanges
from syftnotify.runtime.pipeline import Pipeline, ScanReport
from syftnotify.runtime.recipients import Recipients
from syftnotify.sources.spool import Spool
from syftnotify.sources.syftbox.peers import PeerScanner, SentRequestScanner
from syftnotify.sources.syftbox.scanner import JobScanner
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.store.scan_cache import ScanCacheFile
from syftnotify.system.files import create_private_folder
from syftnotify.system.paths import Home, try_expand_path
from syftnotify.system.procinfo import is_alive
from syftnotify.transports.registry import transport_for
from syftnotify.transports.slack.renderer import SlackRenderer
from syftnotify.transports.webhook.renderer import WebhookRenderer

_COLAB_SYFT_BG = "/content/drive/MyDrive/syft-bg"


@dataclass(slots=True)
class App:
    """A home at work. Only for the holder of its lock."""

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
        """Let go of the database."""
        self.dispatcher.stop()
        self.outbox.close()


def check_ready(home: Home) -> Settings:
    """The configuration of `home`, good for a worker.

    Raises:
        ConfigError: it has mistakes.
        NotSignedInError: mail would go out by Gmail, and there is no sign-in.
    """
    settings = load(home, check=template_mistakes)
    settings = replace(settings, warnings=(*settings.warnings, *_template_warnings(settings)))
    transport = settings.mail_section
    if not settings.config.notify.enabled:
        return settings
    if isinstance(transport, Gmail) and not transport.token.exists():
        raise NotSignedInError(f"there is no Google sign-in at {transport.token}", hint="sign in with `notify init`")
    return settings


def load_listing_all(home: Home) -> Settings:
    """The configuration of `home`; when it has mistakes, the error lists those in the templates of webhooks as well.

    Mistakes in templates alone are no error here.

    Raises:
        ConfigError, NotifyError: as `load`.
    """
    try:
        return load(home)
    except ConfigError:
        load(home, check=template_mistakes)
        raise


def _template_warnings(settings: Settings) -> Iterator[str]:
    """What is suspicious about the templates of webhooks."""
    for name, section in settings.config.transports.items():
        words = words_of(settings, name, section)
        if isinstance(words, WebhookRenderer) and words.warning:
            yield f"config.yaml: transports.{name}.body: {words.warning}"


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
        create_private_folder(home.spool)  # or it could not be watched
    except OSError as error:
        raise StateError(
            f"{home.spool} cannot be created: {error.strerror}", hint="remove what is in its place"
        ) from error
    with ExitStack() as stack:
        ledger = Ledger(home.state)
        outbox = SqliteOutbox(home.outbox)
        stack.callback(outbox.close)  # unless everything below succeeds
        sections: dict[str, Transport] = {**config.transports, **_endpoints(outbox.alert_rules.all())}
        outbox.queue.reassign(list(sections), settings.mailer)
        dispatcher = Dispatcher(
            outbox,
            [_transport_queue(settings, name, section, clock) for name, section in sections.items()],
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
            missing=lambda: _missing(settings.root),
            jobs=jobs if with_jobs and config.notify.monitor_jobs else None,
            peers=peers,
            peer_changes=PeerChanges(peers, ledger, owner, trusts_folders=config.notify.peers_from_folders),
            recipients=Recipients(outbox, owner, config.recipients.new_per_day),
            tells_peers=with_peers and config.notify.monitor_peers,
            ledger=ledger,
            outbox=outbox,
            memory=ScanCacheFile(home.scan_cache, scope),
            spool=Spool(home.spool),
            reach=_reach(
                settings,
                outbox,
                sections,
                lambda name, section: dispatcher.add(_transport_queue(settings, name, section, clock)),
            ),
            scope=scope,
            quiet=_quiet_hours(config),
            limits=ReminderThresholds(config.reminders.job_waiting, config.reminders.job_long_running),
            retention=config.retention,
        )
        stack.pop_all()
    return App(settings, ledger, outbox, pipeline, dispatcher, jobs, clock)


def job_reader(settings: Settings, **more: Any) -> JobScanner:
    """What reads the jobs that this home is about: those of an owner, or a scientist's own at others'."""
    email = settings.config.do_email
    owner, submitter = (email, "") if settings.config.role == "owner" else ("", email)
    return JobScanner(settings.root, owner, submitter=submitter, **more)


def _transport_queue(settings: Settings, name: str, section: Transport, clock: Callable[[], float]) -> TransportQueue:
    options = QueueOptions(
        rate=section.rate,
        burst=section.burst,
        max_retries=section.max_retries,
        daily_limit=section.daily_limit,
        supports_threads=isinstance(section, Gmail),
        allows_digest=not isinstance(section, Webhook),
        resend_unknown=not settings.holds(section),
    )
    return TransportQueue(name, transport_for(section, clock=clock), words_of(settings, name, section), options)


def _endpoints(rules: Iterable[AlertRule]) -> dict[str, Transport]:
    """A transport for each address that an alert rule names by itself: one that is dead delays no other."""
    # Earlier versions accepted blanks in the host.
    return {rule.endpoint: alert_webhook(rule.target.replace(" ", "%20")) for rule in rules if rule.has_url}


def alert_webhook(url: str) -> Webhook:
    """The endpoint at an address that an alert rule names by itself. Raises: ValueError."""
    return Webhook.model_validate({"type": "webhook", "url": url, "format": "run_alert", "on_unknown": "resend"})


def alert_warning(rule: AlertRule) -> str:
    """The warning that the address that `rule` names by itself is sent unencrypted; else empty. Raises: ValueError."""
    if not rule.has_url or is_safe_url(rule.target):
        return ""
    exposed = alert_webhook(rule.target.replace(" ", "%20")).exposed
    if urlsplit(rule.target).path.strip("/"):  # often the token of a receiver
        exposed.append("the path of the address")
    return unencrypted(exposed) if exposed else ""


def renderer_for(home: Home) -> TemplateRenderer:
    """The templates of `home`, one's own before the built-in ones."""
    return cached_renderer(home.templates if home.templates.is_dir() else None)


def template_mistakes(raw: Mapping[str, Any]) -> Iterator[str]:
    """The mistakes in the templates of webhooks, as `path: text`; `raw` is the configuration, checked or not."""
    sections = raw.get("transports")
    for name, section in sections.items() if isinstance(sections, dict) else ():
        if not isinstance(section, dict) or section.get("format") != "template":
            continue
        body = section.get("body")
        if isinstance(body, str):
            try:
                WebhookRenderer("template", links=Links(), template=body)
            except ValueError as error:
                yield f"transports.{escape(str(name))}.body: {escape(str(error))}"


def words_of(settings: Settings, name: str, section: Transport) -> Renderer:
    """What words notifications for the transport `name`. Raises: ConfigError, its `body` is no template."""
    config = settings.config
    links = Links(config.links.job or "", config.links.results or "", config.links.peer or "")
    if isinstance(section, Slack):
        return SlackRenderer(links=links)
    if isinstance(section, Webhook):
        try:
            return WebhookRenderer(section.format, links=links, template=section.body or "", is_json=section.sends_json)
        except ValueError as error:
            why = escape(str(error), limit=300)
            raise ConfigError(f"config.yaml: transports.{name}.body: {why}") from None
    return EmailRenderer(
        renderer_for(settings.home),
        sender=config.do_email,
        links=links,
        prefix=section.subject_prefix,
        body=section.body,
    )


def ways_of(config: Config) -> dict[str, TransportInfo]:
    """The transports as routing sees them."""
    found = {}
    for name, section in config.transports.items():
        default = section.default_recipient
        if isinstance(section, Slack):
            # Without a channel of its own a line goes where the webhook was made for.
            found[name] = TransportInfo(name, AddressType.SLACK, default or (name,), bool(default))
        elif isinstance(section, Webhook):
            found[name] = TransportInfo(name, AddressType.WEBHOOK, (name,), bool(default))
        else:
            sender = section.sender if isinstance(section, Smtp) else None
            usual = (sender.address if sender else config.do_email,)
            found[name] = TransportInfo(name, AddressType.MAIL, default or usual, bool(default))
    return found


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
    reminding = [Route("reminders.to", REMINDER_KINDS, to=config.reminders.to)] if config.reminders.to else []
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
    return ThrottleRule(), ThrottleRule(section.above, section.within, section.every, DIGEST_PREFIX, exempt)


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
    settings: Settings, outbox: SqliteOutbox, queues: Iterable[str], add: Callable[[str, Transport], None]
) -> Callable[[frozenset[str], Callable[[str], bool]], RoutingContext]:
    """Who can be reached, asked anew at each look: alert rules come and go.

    `add` is given the transports of theirs that have no queue among `queues` yet.
    """
    config = settings.config
    mailer, ways, routes = settings.mailer, ways_of(settings.config), _routes(settings.config)
    configured = _configured(config, routes, ways)
    known = set(queues)

    def reach(peers: frozenset[str], is_recorded: Callable[[str], bool]) -> RoutingContext:
        def is_known(address: str) -> bool:
            return address.lower() in configured or config.recipients.allows(address) or is_recorded(address)

        alerts = [rule for rule in outbox.alert_rules.all() if rule.target]
        own = _endpoints(alerts)
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


def _syft_bg_homes() -> tuple[Path, ...]:
    """Where syft-bg keeps its things: newer releases, older ones, and on Colab."""
    return tuple(filter(None, map(try_expand_path, ("~/.syft-bg", "~/.syft-creds", _COLAB_SYFT_BG))))


def syft_bg_pid() -> int | None:
    """The pid of syft-bg's own notifier, when it seems to be alive."""
    for home in _syft_bg_homes():
        try:
            pid = int((home / "notify" / "daemon.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if pid > 0 and is_alive(pid):
            return pid
    return None


def peer_reader(settings: Settings, clock: Callable[[], float] = time.time) -> PeerScanner:
    """The reader of this owner's peers, or of the owners that a scientist asked."""
    if settings.config.role == "scientist":
        return SentRequestScanner(settings.root, settings.config.do_email, (), (), clock)
    notify = settings.config.notify
    homes = _syft_bg_homes()
    sync = (
        (notify.sync_state_path,) if notify.sync_state_path else tuple(home / "sync" / "state.json" for home in homes)
    )
    told = (
        (notify.notify_state_path,)
        if notify.notify_state_path
        else tuple(home / "notify" / "state.json" for home in homes)
    )
    return PeerScanner(settings.root, settings.config.do_email, sync, told, clock)
