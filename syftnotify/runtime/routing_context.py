"""The routing context of a home: its configuration and its alert rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from syftnotify.config.load import Settings
from syftnotify.config.schema import Config
from syftnotify.config.transport import TransportSettings
from syftnotify.core.identifiers import is_address
from syftnotify.core.matching import Route
from syftnotify.core.models import AlertRule
from syftnotify.core.outbox import OutboxStore
from syftnotify.core.routing import RoutingContext, TransportInfo
from syftnotify.services.routes import configured_routes
from syftnotify.services.transports import inbox_info, transport_infos
from syftnotify.transports.webhook.alert_targets import settings_of_targets, transport_info


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
        self._alert_transports: dict[str, TransportInfo] = {}

    def refresh(self) -> None:
        """Read the alert rules, which change while the worker runs; only from the thread that scans.

        A new URL among their targets gets a transport queue of its own.
        """
        self._alerts = tuple(rule for rule in self._outbox.alert_rules.all() if rule.target)
        targets = settings_of_targets(self._alerts)
        for name in targets.keys() - self._queues:
            self._add_queue(name, targets[name])
            self._queues.add(name)
        self._alert_transports = {name: transport_info(name) for name in targets}

    def build(self, peers: frozenset[str], is_recorded: Callable[[str], bool]) -> RoutingContext:
        """The context for one scan.

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
