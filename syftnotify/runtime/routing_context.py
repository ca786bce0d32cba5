"""The routing context of a home: its configuration and its alert rules."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportSettings
from syftnotify.core.identifiers import is_address
from syftnotify.core.matching import Route
from syftnotify.core.models import AlertRule, Event
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.routing import RoutingContext, TransportInfo
from syftnotify.core.silences import Silence, SilenceState, silence_reason
from syftnotify.core.text import plural
from syftnotify.services.routes import configured_routes
from syftnotify.services.transports import inbox_info, transport_infos
from syftnotify.transports.webhook.alert_targets import settings_of_targets, transport_info

log = logging.getLogger(__name__)


class RoutingContextBuilder:
    """Builds routing contexts with the alert rules as of the last `refresh`."""

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxStore,
        queues: Iterable[str],
        add_queue: Callable[[str, TransportSettings], None],
    ) -> None:
        """`queues` are the names of the existing transport queues; `add_queue` adds one for a URL of an alert rule."""
        self._settings = settings
        self._outbox = outbox
        self._queues = set(queues)
        self._add_queue = add_queue
        self._transports = {**transport_infos(settings.config), **inbox_info(settings.config)}
        self._routes = configured_routes(settings.config)
        self._configured = _configured_addresses(settings.config, self._routes, self._transports)
        self._alerts: tuple[AlertRule, ...] = ()
        self._silences: tuple[Silence, ...] = ()  # that are active
        self._alert_transports: dict[str, TransportInfo] = {}
        self._is_refreshed = False

    def refresh(self, now: float, last_scan: float | None) -> None:
        """Read the alert rules and silences, which change while the worker runs; only from the thread that scans.

        A new URL among the targets of rules gets a transport queue of its own. A silence that has begun since the last
        scan, which may be that of another process, also suppresses what is queued: not what a user resends later.
        """
        silences = tuple(each for each in self._outbox.silences.all() if each.state(now) is SilenceState.ACTIVE)
        known = self._silences
        if not self._is_refreshed and last_scan is not None:
            known = tuple(each for each in silences if max(each.created_at, each.starts_at) <= last_scan)
        self._is_refreshed = True
        begun = [each for each in silences if each not in known]
        self._silences = silences
        if begun and (count := self._outbox.queue.skip_silenced(partial(self._silence_reason, begun, now))):
            log.info(
                "silences suppress %s that %s queued", plural(count, "notification"), "was" if count == 1 else "were"
            )
        self._alerts = tuple(rule for rule in self._outbox.alert_rules.all() if rule.target)
        targets = settings_of_targets(self._alerts)
        for name in targets.keys() - self._queues:
            self._add_queue(name, targets[name])
            self._queues.add(name)
        self._alert_transports = {name: transport_info(name) for name in targets}

    def _silence_reason(
        self, silences: Iterable[Silence], now: float, event: Event, detected_at: float = math.inf
    ) -> str:
        return silence_reason(event, silences, now, self._outbox.silences.has_changed, detected_at=detected_at)

    def build(self, peers: frozenset[str], is_recorded: Callable[[str], bool], now: float) -> RoutingContext:
        """The context for one scan at `now`.

        `peers` are those that the owner added; `is_recorded` tests whether the ledger confirms an address.
        """
        config = self._settings.config

        def is_known(address: str) -> bool:
            return address.lower() in self._configured or config.recipients.allows(address) or is_recorded(address)

        return RoutingContext(
            owner=config.do_email,
            operators=config.operators,
            mail_transport=self._settings.default_mail_transport,
            peers=peers,
            allows=config.recipients.allows,
            denies=config.recipients.denies,
            routes=self._routes,
            transports={**self._transports, **self._alert_transports},
            alerts=self._alerts,
            is_known=is_known,
            silenced=partial(self._silence_reason, self._silences, now),
            configured=self._configured,
        )


def _configured_addresses(
    config: Config, routes: Iterable[Route], transports: Mapping[str, TransportInfo]
) -> frozenset[str]:
    """The addresses that the configuration names as recipients, in lower case."""
    recipients = [config.do_email, *config.operators]
    recipients += [each for route in routes for each in route.to]
    recipients += [each for transport in transports.values() for each in transport.default_recipients]
    return frozenset(each.lower() for each in recipients if is_address(each))
